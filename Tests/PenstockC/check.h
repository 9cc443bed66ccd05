// What the tests of the C interface have in common. C11 and C++11.
#ifndef PENSTOCK_CHECK_H
#define PENSTOCK_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <fcntl.h>
#include <penstock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Ends the program if the condition does not hold.
#define CHECK(condition)                                                              \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);           \
            abort();                                                                  \
        }                                                                             \
    } while (0)

// Ends the program if the call's result is another one.
#define EXPECT(expected, call)                                                        \
    do {                                                                              \
        penstock_result check_result = (call);                                        \
        if (check_result != (expected)) {                                             \
            fprintf(stderr, "%s:%d: %s: %s (%d), not %s\n", __FILE__, __LINE__, #call, \
                    penstock_result_name(check_result), check_result, #expected);     \
            abort();                                                                  \
        }                                                                             \
    } while (0)
#define OK(call) EXPECT(PENSTOCK_OK, call)

static inline uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

// The byte at a place of the files that the tests read.
static inline unsigned char pattern(uint64_t offset) { return (unsigned char)(offset * 131 + (offset >> 8) * 7 + 3); }

static inline void fill(unsigned char *bytes, uint64_t offset, size_t size) {
    for (size_t index = 0; index < size; index++) bytes[index] = pattern(offset + index);
}

static inline int matches(const unsigned char *bytes, uint64_t offset, size_t size) {
    for (size_t index = 0; index < size; index++)
        if (bytes[index] != pattern(offset + index)) return 0;
    return 1;
}

// Writes a file of the pattern, whose name is put into `path`, of at least 64 bytes.
static inline void make_file(char *path, const char *folder, const char *name, size_t size) {
    snprintf(path, 256, "%s/%s", folder, name);
    unsigned char *bytes = (unsigned char *)malloc(size ? size : 1);
    fill(bytes, 0, size);
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
    free(bytes);
}

// How many entries a folder has: of /proc/self/task, threads; of /proc/self/fd, descriptors.
static inline int count_entries(const char *folder) {
    int count = 0;
    DIR *directory = opendir(folder);
    CHECK(directory);
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}

static inline penstock_request read_request(penstock_file file, uint64_t offset, void *memory, uint64_t size) {
    penstock_request request;
    memset(&request, 0, sizeof request);
    request.struct_size = sizeof request;
    request.operation = PENSTOCK_READ;
    request.file = file;
    request.offset = offset;
    request.memory = memory;
    request.size = size;
    return request;
}

#endif
