#define _GNU_SOURCE
#include "test_shims.h"

#include <errno.h>
#include <ftw.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int test_refuse_io_uring(int error) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((unsigned)error & SECCOMP_RET_DATA)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof program / sizeof *program, .filter = program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0 ? -errno : 0;
}

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

int test_limit_open_files(uint64_t count) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    limit.rlim_cur = count;
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

// SplitMix64 of the word's place: neighbouring words and neighbouring files have nothing in common.
static uint64_t word_at(uint64_t index, uint64_t salt) {
    uint64_t word = (index ^ salt * 0xD6E8FEB86659FD93u) + 0x9E3779B97F4A7C15u;
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
    word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
    return word ^ (word >> 31);
}

// Calls to `take` cover the range in runs that lie in one word each.
#define FOR_EACH_RUN(count, offset)                                                                      \
    for (size_t done = 0, run; done < (count); done += run)                                              \
        if ((run = 8 - ((offset) + done) % 8) > (count) - done ? (run = (count) - done, true) : true)

void test_fill(void *memory, size_t count, uint64_t offset, uint64_t salt) {
    FOR_EACH_RUN(count, offset) {
        uint64_t word = word_at((offset + done) / 8, salt);
        memcpy((char *)memory + done, (char *)&word + (offset + done) % 8, run);
    }
}

int64_t test_mismatch(const void *memory, size_t count, uint64_t offset, uint64_t salt) {
    FOR_EACH_RUN(count, offset) {
        uint64_t word = word_at((offset + done) / 8, salt);
        const char *expected = (char *)&word + (offset + done) % 8, *actual = (const char *)memory + done;
        if (memcmp(actual, expected, run) == 0) continue;
        for (size_t i = 0; i < run; i++)
            if (actual[i] != expected[i]) return (int64_t)(done + i);
    }
    return -1;
}
