#define _GNU_SOURCE // O_DIRECT
#define _FILE_OFFSET_BITS 64
#include "bench_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

int bench_file_open(const char *path, bool direct) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0));
    return fd < 0 ? -errno : fd;
}

bool bench_file_is_in_memory(int fd) {
    struct statfs filesystem;
    if (fstatfs(fd, &filesystem) < 0) return false;
    // f_type is signed on some architectures, and the magic numbers use its top bit.
    const unsigned type = (unsigned)filesystem.f_type;
    return type == TMPFS_MAGIC || type == RAMFS_MAGIC;
}
