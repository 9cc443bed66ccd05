// What a request costs through the C interface: time to enqueue, allocations, and 4 KiB warm reads in batches of 128.
// Arguments: a folder, and how many requests.
#include "check.h"

#include <stdatomic.h>

static atomic_long allocations;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}
void *realloc(void *memory, size_t size) {
    allocations++;
    return __libc_realloc(memory, size);
}
int posix_memalign(void **memory, size_t alignment, size_t size) {
    allocations++;
    *memory = __libc_memalign(alignment, size);
    return *memory ? 0 : 12;
}

enum { BATCH = 128, SIZE = 4096, FILE_SIZE = 64 << 20 };

static atomic_long delivered;
static void count(const penstock_completion *completion) {
    CHECK(completion->result == PENSTOCK_OK && completion->bytes == SIZE);
    atomic_fetch_add_explicit(&delivered, 1, memory_order_release);
}

static int compare(const void *first, const void *second) {
    const uint32_t a = *(const uint32_t *)first, b = *(const uint32_t *)second;
    return a < b ? -1 : a > b;
}

int main(int count_of_arguments, char **arguments) {
    CHECK(count_of_arguments == 3);
    const long total = atol(arguments[2]);
    char path[256];
    make_file(path, arguments[1], "overhead", FILE_SIZE);
    penstock_runtime runtime;
    OK(penstock_runtime_create(NULL, &runtime));
    penstock_queue queue;
    OK(penstock_queue_create(runtime, NULL, &queue));
    penstock_file file;
    OK(penstock_file_open(runtime, path, PENSTOCK_ACCESS_READ, PENSTOCK_CACHING_AUTOMATIC, &file));
    static unsigned char memory[BATCH][SIZE];
    uint32_t *times = malloc(sizeof *times * (size_t)total);
    long before = 0, enqueued = 0;
    uint64_t start = 0, random = 88172645463325252u;
    for (long warm = -20 * BATCH; warm < total; warm += BATCH) {
        if (warm >= 0 && start == 0) {
            before = allocations;
            start = now_ns();
        }
        const long target = delivered + BATCH;
        for (int index = 0; index < BATCH; index++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            penstock_request request = read_request(file, random % (FILE_SIZE / SIZE) * SIZE, memory[index], SIZE);
            request.callback = count;
            const uint64_t began = now_ns();
            OK(penstock_enqueue(queue, &request, 1, NULL));
            if (warm >= 0 && enqueued < total) times[enqueued++] = (uint32_t)(now_ns() - began);
        }
        OK(penstock_submit(queue));
        while (delivered < target) {
        }
    }
    const uint64_t elapsed = now_ns() - start;
    const long made = allocations - before;
    qsort(times, (size_t)enqueued, sizeof *times, compare);
    const double rate = (double)enqueued * 1e9 / (double)elapsed;
    printf("{\"requests\": %ld, \"per_second\": %.0f, \"enqueue_ns_median\": %u, \"enqueue_ns_p99\": %u, "
           "\"allocations\": %ld}\n",
           enqueued, rate, times[enqueued / 2], times[enqueued * 99 / 100], made);
    CHECK(times[enqueued / 2] < 1000);
    CHECK(made < enqueued / 1000);
    OK(penstock_runtime_close(runtime));
    return 0;
}
