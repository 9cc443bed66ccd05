#define _GNU_SOURCE
#include "test_shims.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int refuse(unsigned call, int error, unsigned flags) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((unsigned)error & SECCOMP_RET_DATA)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof program / sizeof *program, .filter = program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter) < 0 ? -errno : 0;
}

int test_refuse_io_uring(int error) { return refuse(SYS_io_uring_setup, error, 0); }

int test_refuse_openat2(int error) { return refuse(SYS_openat2, error, SECCOMP_FILTER_FLAG_TSYNC); }

int test_mount_tmpfs(const char *directory, uint64_t size) {
    char options[32];
    snprintf(options, sizeof options, "size=%llu", (unsigned long long)size);
    return mount("penstock-test", directory, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0 ? -errno : 0;
}

int test_unmount(const char *directory) { return umount2(directory, MNT_DETACH) < 0 ? -errno : 0; }

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status, (void)type, (void)walk;
    return remove(path);
}

int test_remove_tree(const char *path) { return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT); }

// Descriptors of a file of /proc that Dispatch gets when there are no others: see `open`.
enum { spare_count = 64, first_spare = 1000 };
static int spares[spare_count];
static atomic_int spares_left;

int test_limit_open_files(uint64_t count) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    static atomic_flag has_spares = ATOMIC_FLAG_INIT;
    if (!atomic_flag_test_and_set(&has_spares)) {
        int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC), left = 0;
        // Above the limits to come: numbers that are given back are nobody's.
        while (file >= 0 && left < spare_count && (spares[left] = fcntl(file, F_DUPFD_CLOEXEC, first_spare)) >= 0) ++left;
        close(file);
        atomic_store(&spares_left, left);
    }
    limit.rlim_cur = count;
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

// In place of the C library's, for Dispatch: once a second that opens a file of /proc for each of its workers, to see
// whether they run, and traps when it finds no descriptor. Tests that leave none are about Penstock, not about Dispatch.
int open(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (file >= 0 || errno != EMFILE || fnmatch("/proc/[0-9]*/stat", path, FNM_PATHNAME) != 0) return file;
    int left = atomic_load(&spares_left);
    while (left > 0 && !atomic_compare_exchange_weak(&spares_left, &left, left - 1)) continue;
    if (left > 0) return spares[left - 1];
    errno = EMFILE;
    return -1;
}

// The pattern is made in blocks that one thread has to itself, and these are copied and compared as wholes. So the thread
// sanitizer looks at every byte that others may see, once, and not at each step of making it.
#define ONE_THREADS_OWN __attribute__((no_sanitize("thread")))
enum { pattern_block = 4096 };

// SplitMix64 of the word's place: neighbouring words and neighbouring files have nothing in common.
ONE_THREADS_OWN static uint64_t word_at(uint64_t index, uint64_t salt) {
    uint64_t word = (index ^ salt * 0xD6E8FEB86659FD93u) + 0x9E3779B97F4A7C15u;
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
    word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
    return word ^ (word >> 31);
}

typedef struct {
    uint64_t words[pattern_block / 8];
    const char *bytes;
    size_t count;
} block;

// The pattern from there on, no more than so many bytes.
ONE_THREADS_OWN static void make_block(block *block, uint64_t offset, size_t most, uint64_t salt) {
    size_t skipped = offset % 8;
    block->bytes = (const char *)block->words + skipped;
    block->count = most < pattern_block - skipped ? most : pattern_block - skipped;
    for (size_t i = 0; i * 8 < skipped + block->count; i++) block->words[i] = word_at(offset / 8 + i, salt);
}

void test_fill(void *memory, size_t count, uint64_t offset, uint64_t salt) {
    block block;
    for (size_t done = 0; done < count; done += block.count) {
        make_block(&block, offset + done, count - done, salt);
        memcpy((char *)memory + done, block.bytes, block.count);
    }
}

int64_t test_mismatch(const void *memory, size_t count, uint64_t offset, uint64_t salt) {
    block block;
    for (size_t done = 0; done < count; done += block.count) {
        make_block(&block, offset + done, count - done, salt);
        const char *actual = (const char *)memory + done;
        if (memcmp(actual, block.bytes, block.count) == 0) continue;
        for (size_t i = 0; i < block.count; i++)
            if (actual[i] != block.bytes[i]) return (int64_t)(done + i);
    }
    return -1;
}
