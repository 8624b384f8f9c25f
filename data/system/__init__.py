"""The operating system: files local and remote, locks, limits of memory and CPUs, compilers."""
