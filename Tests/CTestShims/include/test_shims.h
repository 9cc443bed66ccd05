// What the tests need of Linux that Swift cannot call: variadic `prctl` and `seccomp`, mounts, and byte patterns that a
// debug build must fill and check by the hundred megabyte. It can go when none of these needs C.
#ifndef PENSTOCK_TEST_SHIMS_H
#define PENSTOCK_TEST_SHIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Makes every later `io_uring_setup` of the calling thread, and of threads that it starts, fail with `error`.
/// Returns 0 or a negated errno. There is no way back.
int test_refuse_io_uring(int error);
/// The same of `openat2`, and of all the process's threads.
int test_refuse_openat2(int error);
/// Mounts an empty tmpfs of `size` bytes on the directory. Returns 0 or a negated errno.
int test_mount_tmpfs(const char *directory, uint64_t size);
int test_unmount(const char *directory);
/// Removes a directory and all that is in it.
int test_remove_tree(const char *path);
/// Sets the soft limit of open files. Returns 0 or a negated errno.
int test_limit_open_files(uint64_t count);

/// The bytes that belong at `offset` of the file that `salt` names. Any range of any file can so be verified alone.
void test_fill(void *memory, size_t count, uint64_t offset, uint64_t salt);
/// The index of the first byte that does not belong there, or -1.
int64_t test_mismatch(const void *memory, size_t count, uint64_t offset, uint64_t salt);

#endif
