/* Faults in the file system's calls, for the tests: loaded with LD_PRELOAD, asleep until `fault_arm`.

   Counts the calls that change something below a folder, writes one line for each to a trace, and at the n-th of them
   kills the process (before it, after it, or with half of a write done) or lets it and all later ones fail with an
   errno. Also keeps which bytes were written and not synced yet, for a simulated power cut.

   Only what the C library's own callers ask for: pages changed through a map are not seen. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NONE, BEFORE, AFTER, TORN, FAIL };
enum { CREATE = 1, WRITE = 2, SYNC = 4, RENAME = 8, REMOVE = 16, RESIZE = 32, LINK = 64 };

static struct {
  int armed, mode, error, kinds, trace;
  long at, span, count;
  size_t length;
  char folder[PATH_MAX];
} the;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Bytes written and not synced, by file. */
enum { MOST = 1 << 16 };
static struct dirty { dev_t device; ino_t inode; off_t begin, end; } dirty[MOST];
static int n_dirty;

#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); real; })

static int below(const char *path) {
  return !strncmp(path, the.folder, the.length) && (path[the.length] == '/' || !path[the.length]);
}

static int path_of_fd(int fd, char *path) {
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(name, path, PATH_MAX - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return path[0] == '/';
}

static int watched_at(int folder, const char *name, char *path) {
  if (!the.armed || !name) return 0;
  if (name[0] == '/') {
    snprintf(path, PATH_MAX, "%s", name);
  } else {
    char base[PATH_MAX];
    if (folder == AT_FDCWD) { if (!getcwd(base, sizeof base)) return 0; }
    else if (!path_of_fd(folder, base)) return 0;
    if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) return 0;
  }
  return below(path);
}

static int watched(int fd, char *path) { return the.armed && path_of_fd(fd, path) && below(path); }

static void die(void) {
  char line[128];
  for (int i = 0; i < n_dirty; i++) {
    struct dirty *d = &dirty[i];
    int n = snprintf(line, sizeof line, "dirty %lu %lu %ld %ld\n", (unsigned long)d->device, (unsigned long)d->inode,
                     (long)d->begin, (long)d->end);
    if (REAL(write)(the.trace, line, n) < 0) break;
  }
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* What is to be done with this call; the lock is held by whoever is told something other than NONE. */
static int event(int kind, const char *what, const char *path) {
  pthread_mutex_lock(&lock);
  int mode = NONE;
  char line[PATH_MAX + 64];
  long now = the.count++;
  if (the.trace >= 0) {
    int n = snprintf(line, sizeof line, "%s %s\n", what, path + the.length);
    if (REAL(write)(the.trace, line, n) < 0) the.trace = -1;
  }
  if (the.mode == FAIL ? now >= the.at && (!the.span || now < the.at + the.span) && (kind & the.kinds) : now == the.at)
    mode = the.mode;
  if (mode == BEFORE || (mode == TORN && kind != WRITE)) die();
  if (mode == NONE || mode == FAIL) pthread_mutex_unlock(&lock);
  return mode;
}

#define GUARD(kind, what, path, result)                           \
  int mode = event(kind, what, path);                             \
  if (mode == FAIL) { errno = the.error; return -1; }             \
  __typeof__(result) out = result;                                \
  int saved = errno;                                              \
  if (mode == AFTER) die();                                       \
  errno = saved;                                                  \
  return out;

static void soil(int fd, off_t begin, ssize_t n) {
  struct stat s;
  if (n <= 0 || fstat(fd, &s)) return;
  pthread_mutex_lock(&lock);
  struct dirty *last = n_dirty ? &dirty[n_dirty - 1] : NULL;
  if (last && last->inode == s.st_ino && last->device == s.st_dev && last->end == begin) last->end += n;
  else if (n_dirty < MOST) dirty[n_dirty++] = (struct dirty){s.st_dev, s.st_ino, begin, begin + n};
  pthread_mutex_unlock(&lock);
}

static void clean(int fd) {
  struct stat s;
  if (fstat(fd, &s)) return;
  pthread_mutex_lock(&lock);
  int kept = 0;
  for (int i = 0; i < n_dirty; i++)
    if (dirty[i].inode != s.st_ino || dirty[i].device != s.st_dev) dirty[kept++] = dirty[i];
  n_dirty = kept;
  pthread_mutex_unlock(&lock);
}

/* --- opening --- */
static int open_at(int folder, const char *name, int flags, mode_t permissions) {
  char path[PATH_MAX];
  int changes = (flags & (O_CREAT | O_TRUNC)) && (flags & O_ACCMODE) != O_RDONLY;
  int writes = (flags & O_ACCMODE) != O_RDONLY;
  int (*real)(int, const char *, int, ...) = REAL(openat64);
  if (!writes || !watched_at(folder, name, path)) return real(folder, name, flags, permissions);
  if (!changes) { /* an existing file opened for writing: only rights can forbid it */
    if (the.mode == FAIL && the.error != ENOSPC && (the.kinds & CREATE) && the.count >= the.at) {
      errno = the.error;
      return -1;
    }
    return real(folder, name, flags, permissions);
  }
  GUARD(CREATE, "create", path, real(folder, name, flags, permissions))
}
#define PERMISSIONS(flags) \
  mode_t permissions = 0; \
  if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list l; va_start(l, flags); permissions = va_arg(l, int); va_end(l); }
int open(const char *name, int flags, ...) { PERMISSIONS(flags) return open_at(AT_FDCWD, name, flags, permissions); }
int open64(const char *name, int flags, ...) { PERMISSIONS(flags) return open_at(AT_FDCWD, name, flags, permissions); }
int openat(int folder, const char *name, int flags, ...) { PERMISSIONS(flags) return open_at(folder, name, flags, permissions); }
int openat64(int folder, const char *name, int flags, ...) { PERMISSIONS(flags) return open_at(folder, name, flags, permissions); }
int creat(const char *name, mode_t permissions) { return open_at(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, permissions); }
int creat64(const char *name, mode_t permissions) { return open_at(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, permissions); }
int mkdir(const char *name, mode_t permissions) {
  char path[PATH_MAX];
  if (!watched_at(AT_FDCWD, name, path)) return REAL(mkdir)(name, permissions);
  GUARD(CREATE, "mkdir", path, REAL(mkdir)(name, permissions))
}
int mkdirat(int folder, const char *name, mode_t permissions) {
  char path[PATH_MAX];
  if (!watched_at(folder, name, path)) return REAL(mkdirat)(folder, name, permissions);
  GUARD(CREATE, "mkdir", path, REAL(mkdirat)(folder, name, permissions))
}

/* --- writing --- */
static ssize_t write_at(int fd, const void *data, size_t n, off_t offset, int given) {
  ssize_t (*plain)(int, const void *, size_t) = REAL(write);
  ssize_t (*placed)(int, const void *, size_t, off_t) = REAL(pwrite64);
  char path[PATH_MAX];
  if (!watched(fd, path)) return given ? placed(fd, data, n, offset) : plain(fd, data, n);
  int mode = event(WRITE, "write", path);
  if (mode == FAIL) { errno = the.error; return -1; }
  if (mode == TORN) n = n / 2;
  off_t begin = given ? offset : lseek(fd, 0, SEEK_CUR);
  if (!given && (fcntl(fd, F_GETFL) & O_APPEND)) begin = lseek(fd, 0, SEEK_END);
  ssize_t out = given ? placed(fd, data, n, offset) : plain(fd, data, n);
  int saved = errno;
  if (mode == TORN || mode == AFTER) { pthread_mutex_unlock(&lock); soil(fd, begin, out); die(); }
  soil(fd, begin, out);
  errno = saved;
  return out;
}
ssize_t write(int fd, const void *data, size_t n) { return the.armed ? write_at(fd, data, n, 0, 0) : REAL(write)(fd, data, n); }
ssize_t pwrite(int fd, const void *data, size_t n, off_t offset) { return write_at(fd, data, n, offset, 1); }
ssize_t pwrite64(int fd, const void *data, size_t n, off_t offset) { return write_at(fd, data, n, offset, 1); }
ssize_t writev(int fd, const struct iovec *parts, int n) {
  char path[PATH_MAX];
  if (!watched(fd, path)) return REAL(writev)(fd, parts, n);
  return n ? write_at(fd, parts[0].iov_base, parts[0].iov_len, 0, 0) : 0; /* a short write, which callers go on after */
}

/* --- syncing: recorded, and not done, because `clean` and a simulated power cut show what the disk would --- */
static int sync_file(int fd) {
  char path[PATH_MAX];
  if (!watched(fd, path)) return 0;
  int mode = event(SYNC, "sync", path);
  if (mode == FAIL) { errno = the.error; return -1; }
  if (mode == AFTER) { pthread_mutex_unlock(&lock); clean(fd); die(); }
  clean(fd);
  return 0;
}
int fsync(int fd) { return sync_file(fd); }
int fdatasync(int fd) { return sync_file(fd); }

/* --- names --- */
int rename(const char *from, const char *to) {
  char path[PATH_MAX];
  if (!watched_at(AT_FDCWD, to, path)) return REAL(rename)(from, to);
  GUARD(RENAME, "rename", path, REAL(rename)(from, to))
}
int renameat(int a, const char *from, int b, const char *to) {
  char path[PATH_MAX];
  if (!watched_at(b, to, path)) return REAL(renameat)(a, from, b, to);
  GUARD(RENAME, "rename", path, REAL(renameat)(a, from, b, to))
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
  char path[PATH_MAX];
  if (!watched_at(b, to, path)) return REAL(renameat2)(a, from, b, to, flags);
  GUARD(RENAME, "rename", path, REAL(renameat2)(a, from, b, to, flags))
}
int unlink(const char *name) {
  char path[PATH_MAX];
  if (!watched_at(AT_FDCWD, name, path)) return REAL(unlink)(name);
  GUARD(REMOVE, "unlink", path, REAL(unlink)(name))
}
int unlinkat(int folder, const char *name, int flags) {
  char path[PATH_MAX];
  if (!watched_at(folder, name, path)) return REAL(unlinkat)(folder, name, flags);
  GUARD(REMOVE, "unlink", path, REAL(unlinkat)(folder, name, flags))
}
int rmdir(const char *name) {
  char path[PATH_MAX];
  if (!watched_at(AT_FDCWD, name, path)) return REAL(rmdir)(name);
  GUARD(REMOVE, "rmdir", path, REAL(rmdir)(name))
}
int link(const char *from, const char *to) {
  char path[PATH_MAX];
  if (!watched_at(AT_FDCWD, to, path)) return REAL(link)(from, to);
  GUARD(LINK, "link", path, REAL(link)(from, to))
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
  char path[PATH_MAX];
  if (!watched_at(b, to, path)) return REAL(linkat)(a, from, b, to, flags);
  GUARD(LINK, "link", path, REAL(linkat)(a, from, b, to, flags))
}
int symlink(const char *from, const char *to) {
  char path[PATH_MAX];
  if (!watched_at(AT_FDCWD, to, path)) return REAL(symlink)(from, to);
  GUARD(LINK, "symlink", path, REAL(symlink)(from, to))
}
int ftruncate(int fd, off_t size) {
  char path[PATH_MAX];
  if (!watched(fd, path)) return REAL(ftruncate64)(fd, size);
  GUARD(RESIZE, "truncate", path, REAL(ftruncate64)(fd, size))
}
int ftruncate64(int fd, off64_t size) {
  char path[PATH_MAX];
  if (!watched(fd, path)) return REAL(ftruncate64)(fd, size);
  GUARD(RESIZE, "truncate", path, REAL(ftruncate64)(fd, size))
}
int posix_fallocate64(int fd, off64_t offset, off64_t length) {
  char path[PATH_MAX];
  if (!watched(fd, path)) return REAL(posix_fallocate64)(fd, offset, length);
  int mode = event(WRITE, "allocate", path);
  if (mode == FAIL) return the.error;
  int out = REAL(posix_fallocate64)(fd, offset, length);
  if (mode == TORN || mode == AFTER) die();
  return out;
}
int posix_fallocate(int fd, off_t offset, off_t length) { return posix_fallocate64(fd, offset, length); }

/* Watch `folder`; at the `at`-th call from 0 do what `mode` says. `error` and `kinds` are for FAIL, for `span` calls or,
   where it is 0, for all later ones. The trace goes to the file descriptor `trace`, or nowhere where it is −1. */
void fault_arm(const char *folder, long at, int mode, int error, int kinds, long span, int trace) {
  snprintf(the.folder, sizeof the.folder, "%s", folder);
  the.length = strlen(the.folder);
  the.at = at, the.mode = mode, the.error = error, the.kinds = kinds, the.span = span, the.trace = trace;
  the.count = 0;
  n_dirty = 0;
  the.armed = 1;
}
