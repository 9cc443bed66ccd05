/// What the benchmark file needs from Linux and Swift's Glibc module does not declare (it sees no _GNU_SOURCE).
/// Can go when it does.
#ifndef CBASELINES_BENCH_FILE_H
#define CBASELINES_BENCH_FILE_H

#include <stdbool.h>

/// open(2) for reading, with O_DIRECT if `direct`. Returns the descriptor, or -errno.
int bench_file_open(const char *path, bool direct);

/// Whether `fd` lives in memory (tmpfs, ramfs), where neither the page cache nor O_DIRECT mean anything.
bool bench_file_is_in_memory(int fd);

#endif
