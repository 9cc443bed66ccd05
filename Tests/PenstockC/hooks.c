// What a host plugs into a runtime and a queue, and what they say of themselves: an allocator, thread hooks, logs,
// names, features, the kind of source. Arguments: a folder for files.
#include "check.h"
#include "encoders.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

enum { SIZE = 1 << 20, PLAIN = 300000 };
static const uint64_t forever = UINT64_MAX;

static char folder[200], path[256], zstd_path[256];
static unsigned char plain[PLAIN], zstd_bytes[2 * PLAIN + 1024], memory[SIZE];
static size_t zstd_size;
static penstock_device device;
static penstock_buffer buffer;

static penstock_runtime_options options_of(uint32_t driver) {
    penstock_runtime_options options = {.struct_size = sizeof options, .driver = driver};
    return options;
}

// ---- The allocator

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    void *memory;
    size_t size;
} blocks[4096];
static int live, taken, refuse_from, refuse_to;
static int arena;

static void *take(void *user_data, size_t size, size_t alignment) {
    CHECK(user_data == &arena && size > 0 && alignment > 0 && (alignment & (alignment - 1)) == 0);
    void *result = NULL;
    pthread_mutex_lock(&mutex);
    if (taken < refuse_from || taken >= refuse_to) {
        CHECK(live < 4096);
        // As aligned as it is asked to be and no more, so that who relies on more is found out.
        const size_t room = size + 2 * alignment;
        unsigned char *start = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        CHECK(start != MAP_FAILED);
        unsigned char *aligned = (unsigned char *)(((uintptr_t)start + alignment - 1) & ~(uintptr_t)(alignment - 1));
        if (((uintptr_t)aligned & (2 * alignment - 1)) == 0) aligned += alignment;
        if (aligned > start) munmap(start, (size_t)(aligned - start));
        if (start + room > aligned + size) munmap(aligned + size, (size_t)(start + room - aligned - size));
        CHECK(mprotect(aligned, size, PROT_READ | PROT_WRITE) == 0);
        // Not zeroed: nobody said so.
        memset(aligned, 0xC5, size);
        blocks[live].memory = aligned;
        blocks[live++].size = size;
        result = aligned;
    }
    taken++;
    pthread_mutex_unlock(&mutex);
    return result;
}

// What has come back is gone: to touch it is a fault.
static void give(void *user_data, void *block, size_t size) {
    CHECK(user_data == &arena && block);
    pthread_mutex_lock(&mutex);
    int index = 0;
    while (index < live && blocks[index].memory != block) index++;
    CHECK(index < live && blocks[index].size == size);
    blocks[index] = blocks[--live];
    pthread_mutex_unlock(&mutex);
    munmap(block, size);
}

// What has become of a request, whether it was refused or has failed.
static penstock_result result_if_accepted(penstock_queue queue, const penstock_request *original) {
    penstock_status status;
    penstock_request request = *original;
    request.status = &status;
    const penstock_result refused = penstock_enqueue(queue, &request, 1, NULL);
    if (refused != PENSTOCK_OK) return refused;
    OK(penstock_wait(queue, UINT64_MAX));
    return penstock_status_load(&status);
}

// Requests of every kind. Each either succeeds or says that there was no memory. How many did not succeed?
enum { KINDS = 6 };
static int read_all_kinds(penstock_runtime runtime) {
    penstock_queue queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    penstock_file file = open_file(runtime, path, PENSTOCK_ACCESS_READ), out = new_file(runtime, folder, "out");
    penstock_file encoded = open_file(runtime, zstd_path, PENSTOCK_ACCESS_READ), direct;
    OK(penstock_file_open(runtime, path, PENSTOCK_ACCESS_READ, PENSTOCK_CACHING_DIRECT, &direct));
    int failed = 0;
    for (int kind = 0; kind < KINDS; kind++) {
        penstock_request request = read_request(file, 77, memory, SIZE - 77);
        memset(memory, 0, sizeof memory);
        // Around the page cache, at a place that the disk does not have.
        if (kind == 1) request.file = direct;
        if (kind == 2 || kind == 3) {
            request = read_request(kind == 3 ? (penstock_file){0} : encoded, 0, memory, zstd_size);
            if (kind == 3) request.source = zstd_bytes;
            set_compression(&request, PENSTOCK_COMPRESSION_ZSTD, PLAIN);
        }
        if (kind >= 4) {
            request.memory = NULL;
            request.buffer = buffer;
        }
        if (kind == 5) {
            request.operation = PENSTOCK_WRITE;
            request.file = out;
        }
        const penstock_result result = result_if_accepted(queue, &request);
        if (result == PENSTOCK_ERROR_OUT_OF_MEMORY) {
            failed++;
            continue;
        }
        OK(result);
        if (kind < 2) CHECK(matches(memory, 77, SIZE - 77));
        if (kind == 2 || kind == 3) CHECK(memcmp(memory, plain, PLAIN) == 0);
    }
    OK(penstock_queue_close(queue));
    OK(penstock_file_close(file));
    OK(penstock_file_close(out));
    OK(penstock_file_close(encoded));
    OK(penstock_file_close(direct));
    return failed;
}

static void memory_comes_from_the_host(uint32_t driver) {
    penstock_runtime_options options = options_of(driver);
    options.allocate = take;
    options.deallocate = give;
    options.allocator_user_data = &arena;
    penstock_runtime runtime;
    live = taken = refuse_from = refuse_to = 0;
    OK(penstock_runtime_create(&options, &runtime));
    CHECK(read_all_kinds(runtime) == 0);
    OK(penstock_runtime_close(runtime));
    const int needed = taken;
    CHECK(needed > 0 && live == 0);

    // None at all: what does not need any goes on.
    live = taken = refuse_from = 0;
    refuse_to = INT32_MAX;
    penstock_result result = penstock_runtime_create(&options, &runtime);
    if (result == PENSTOCK_OK) {
        const int failed = read_all_kinds(runtime);
        CHECK(failed > 0 && failed < KINDS);
        // And when there is some again, everything does.
        refuse_to = 0;
        CHECK(read_all_kinds(runtime) == 0);
        OK(penstock_runtime_close(runtime));
    } else {
        EXPECT(PENSTOCK_ERROR_OUT_OF_MEMORY, result);
    }
    CHECK(live == 0);

    // One is missing, wherever.
    for (int missing = 0; missing < needed + 2; missing++) {
        live = taken = 0;
        refuse_from = missing;
        refuse_to = missing + 1;
        result = penstock_runtime_create(&options, &runtime);
        if (result == PENSTOCK_OK) {
            read_all_kinds(runtime);
            CHECK(read_all_kinds(runtime) == 0);
            OK(penstock_runtime_close(runtime));
        } else {
            EXPECT(PENSTOCK_ERROR_OUT_OF_MEMORY, result);
        }
        CHECK(live == 0);
    }
    refuse_from = refuse_to = 0;

    options.deallocate = NULL;
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_runtime_create(&options, &runtime));
    options.allocate = NULL;
    options.deallocate = give;
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_runtime_create(&options, &runtime));
    printf("    %d blocks\n", taken);
}

// ---- Threads, logs and names

static _Thread_local int is_set_up;
static atomic_int started, stopped, lines, ended;
static atomic_ulong callback_thread;
static char log_text[1 << 16];

static void set_up(void *user_data) {
    CHECK(user_data == &started && !is_set_up);
    is_set_up = 1;
    started++;
}

static void tear_down(void *user_data) {
    CHECK(user_data == &started && is_set_up);
    is_set_up = 0;
    stopped++;
}

static void log_line(void *user_data, int32_t level, const char *message) {
    CHECK(user_data == &lines && level >= PENSTOCK_LOG_TRACE && level <= PENSTOCK_LOG_CRITICAL);
    pthread_mutex_lock(&mutex);
    CHECK(strlen(log_text) + strlen(message) + 2 < sizeof log_text && !strchr(message, '\n'));
    strcat(strcat(log_text, message), "\n");
    pthread_mutex_unlock(&mutex);
    lines++;
}

static void on_one_thread(const penstock_completion *completion) {
    (void)completion;
    unsigned long none = 0;
    const unsigned long self = (unsigned long)pthread_self();
    if (!atomic_compare_exchange_strong(&callback_thread, &none, self)) CHECK(none == self);
    CHECK(is_set_up);
    ended++;
}

static int32_t copy_decoder(
    void *user_data, const void *source, uint64_t source_size, void *destination, uint64_t destination_size) {
    CHECK(is_set_up && user_data == NULL && source_size == destination_size);
    // Not where callbacks run, which must not be held up.
    CHECK((unsigned long)pthread_self() != callback_thread);
    memcpy(destination, source, destination_size);
    return 0;
}

// Whether one of this process's threads has a name.
static int has_thread(const char *name) {
    int found = 0;
    DIR *directory = opendir("/proc/self/task");
    CHECK(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        char file_name[300], comm[64] = "";
        snprintf(file_name, sizeof file_name, "/proc/self/task/%s/comm", entry->d_name);
        FILE *stream = fopen(file_name, "r");
        if (!stream) continue;
        if (fgets(comm, sizeof comm, stream)) comm[strcspn(comm, "\n")] = 0;
        fclose(stream);
        found |= strcmp(comm, name) == 0;
    }
    closedir(directory);
    return found;
}

static void threads_logs_and_names(uint32_t driver) {
    started = stopped = lines = ended = 0;
    callback_thread = 0;
    log_text[0] = 0;
    penstock_runtime_options options = options_of(driver);
    options.thread_start = set_up;
    options.thread_stop = tear_down;
    options.thread_user_data = &started;
    options.log = log_line;
    options.log_user_data = &lines;
    // Nothing that is given is kept: the strings are gone when it runs.
    char *name = strdup("a name of more than fifteen bytes"), *queue_name = strdup("textures of the level");
    options.name = name;
    penstock_runtime runtime;
    OK(penstock_runtime_create(&options, &runtime));
    memset(name, 'X', strlen(name));
    free(name);
    CHECK(has_thread("a name of more "));
    penstock_queue_options queue_options = {.struct_size = sizeof queue_options, .name = queue_name};
    penstock_queue queue;
    OK(penstock_queue_create(runtime, &queue_options, &queue));
    memset(queue_name, 'X', strlen(queue_name));
    free(queue_name);
    penstock_file file = open_file(runtime, path, PENSTOCK_ACCESS_READ);
    for (int index = 0; index < 200; index++) {
        penstock_request request = read_request(file, (uint64_t)index, memory + index * 4096, 4000);
        if (index % 2) {
            request.compression = PENSTOCK_COMPRESSION_CUSTOM;
            request.uncompressed_size = request.size;
            request.decoder = copy_decoder;
        }
        request.callback = on_one_thread;
        OK(penstock_enqueue(queue, &request, 1, NULL));
    }
    // A refusal says more in the log than its result does.
    const int before = lines;
    penstock_file none;
    EXPECT(PENSTOCK_ERROR_NOT_FOUND, penstock_file_open(runtime, "/nonexistent/file", PENSTOCK_ACCESS_READ, 0, &none));
    CHECK(lines > before && strstr(log_text, "/nonexistent/file"));
    OK(penstock_runtime_close(runtime));
    // The runtime's own thread, and those that decode; each is told of its end.
    CHECK(ended == 200 && started >= 2 && stopped == started && !is_set_up);
    CHECK(!has_thread("a name of more "));
    CHECK(strstr(log_text, "a name of more than fifteen bytes"));
}

// How many threads there are is asked for by `threads`.
static void drivers_have_threads(uint32_t driver) {
    if (driver != PENSTOCK_DRIVER_THREADS) return;
    const int before = count_entries("/proc/self/task");
    int previous = 0;
    for (uint32_t threads = 1; threads <= 16; threads *= 2) {
        penstock_runtime_options options = options_of(driver);
        options.threads = threads;
        penstock_runtime runtime;
        OK(penstock_runtime_create(&options, &runtime));
        penstock_queue queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
        penstock_file file = open_file(runtime, path, PENSTOCK_ACCESS_READ);
        for (int index = 0; index < 500; index++) {
            const penstock_request request = read_request(file, (uint64_t)index * 2000, memory + index * 2000, 2000);
            OK(penstock_enqueue(queue, &request, 1, NULL));
        }
        OK(penstock_wait(queue, forever));
        CHECK(matches(memory, 0, 1000000));
        const int now = count_entries("/proc/self/task") - before;
        CHECK(now >= previous && now <= (int)threads + 4);
        previous = now;
        OK(penstock_runtime_close(runtime));
    }
}

// ---- Features

static void features_are_told_in_parts(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    size_t length;
    OK(penstock_runtime_describe(runtime, NULL, 0, &length));
    char *text = malloc(length + 1);
    OK(penstock_runtime_describe(runtime, text, length + 1, NULL));
    uint32_t count = 0;
    int has_driver = 0;
    penstock_feature features[64];
    for (;; count++) {
        CHECK(count < 64);
        features[count] = (penstock_feature){.struct_size = sizeof *features};
        const penstock_result result = penstock_runtime_feature(runtime, count, &features[count]);
        if (result == PENSTOCK_ERROR_INVALID_RANGE) break;
        OK(result);
    }
    CHECK(count > 0);
    for (uint32_t index = 0; index < count; index++) {
        const penstock_feature *feature = &features[index];
        // All of it stands in the description as well, and is still there.
        CHECK(feature->struct_size == sizeof *feature && feature->is_best <= 1);
        CHECK(feature->name[0] && strstr(text, feature->name) && feature->rung[0] && strstr(text, feature->rung));
        CHECK(!feature->reason || (feature->reason[0] && strstr(text, feature->reason)));
        CHECK(!feature->advice || feature->advice[0]);
        if (strcmp(feature->name, "driver") == 0) {
            has_driver = 1;
            if (driver == PENSTOCK_DRIVER_THREADS) CHECK(!feature->is_best);
        }
        // The same again.
        penstock_feature again = {.struct_size = sizeof again};
        OK(penstock_runtime_feature(runtime, index, &again));
        CHECK(strcmp(again.name, feature->name) == 0 && strcmp(again.rung, feature->rung) == 0);
    }
    CHECK(has_driver);
    penstock_feature feature = {.struct_size = sizeof feature};
    EXPECT(PENSTOCK_ERROR_INVALID_RANGE, penstock_runtime_feature(runtime, UINT32_MAX, &feature));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_runtime_feature(runtime, 0, NULL));
    feature.struct_size = 3;
    EXPECT(PENSTOCK_ERROR_STRUCT_SIZE, penstock_runtime_feature(runtime, 0, &feature));
    // An older host's struct, which ends with the name.
    memset(&feature, 0xEE, sizeof feature);
    feature.struct_size = offsetof(penstock_feature, rung);
    OK(penstock_runtime_feature(runtime, 0, &feature));
    CHECK(strcmp(feature.name, features[0].name) == 0 && (uintptr_t)feature.rung == (uintptr_t)0xEEEEEEEEEEEEEEEE);
    free(text);
    OK(penstock_runtime_close(runtime));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_runtime_feature(runtime, 0, &feature));
}

// ---- The kind of source

static void expect_taken(penstock_queue queue, const penstock_request *request, int is_taken) {
    if (is_taken) OK(result_of(queue, request));
    else EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_enqueue(queue, request, 1, NULL));
}

static void sources_are_of_a_kind(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_file file = open_file(runtime, path, PENSTOCK_ACCESS_READ);
    for (uint32_t kind = PENSTOCK_SOURCE_ANY; kind <= PENSTOCK_SOURCE_MEMORY; kind++) {
        penstock_queue_options options = {.struct_size = sizeof options, .source_kind = kind};
        penstock_queue queue;
        OK(penstock_queue_create(runtime, &options, &queue));
        penstock_request request = read_request(file, 0, memory, 100);
        expect_taken(queue, &request, kind != PENSTOCK_SOURCE_MEMORY);
        request.file.id = 0;
        request.source = plain;
        expect_taken(queue, &request, kind != PENSTOCK_SOURCE_FILE);
        request = read_request((penstock_file){0}, 0, memory, zstd_size);
        request.source = zstd_bytes;
        set_compression(&request, PENSTOCK_COMPRESSION_ZSTD, PLAIN);
        expect_taken(queue, &request, kind != PENSTOCK_SOURCE_FILE);
        OK(penstock_queue_close(queue));
    }
    penstock_queue_options options = {.struct_size = sizeof options, .source_kind = PENSTOCK_SOURCE_MEMORY + 1};
    penstock_queue queue;
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_queue_create(runtime, &options, &queue));
    OK(penstock_runtime_close(runtime));
}

int main(int count_of_arguments, char **arguments) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK(count_of_arguments == 2);
    snprintf(folder, sizeof folder, "%s", arguments[1]);
    make_file(path, folder, "large", SIZE);
    // Nothing that could be made smaller, so that there is much to land.
    uint32_t random = 1;
    for (size_t index = 0; index < PLAIN; index++) {
        random = random * 1664525 + 1013904223;
        plain[index] = (unsigned char)(random >> 24);
    }
    zstd_size = encode(PENSTOCK_COMPRESSION_ZSTD, 1, plain, PLAIN, zstd_bytes);
    snprintf(zstd_path, sizeof zstd_path, "%s/zstd", folder);
    FILE *stream = fopen(zstd_path, "wb");
    CHECK(stream && fwrite(zstd_bytes, 1, zstd_size, stream) == zstd_size && fclose(stream) == 0);
    OK(penstock_device_create(&device));
    OK(penstock_buffer_create(device, SIZE, 0, &buffer));
    static const driver_test tests[] = {
        TEST(memory_comes_from_the_host),
        TEST(threads_logs_and_names),
        TEST(drivers_have_threads),
        TEST(features_are_told_in_parts),
        TEST(sources_are_of_a_kind),
    };
    run_tests(tests, sizeof tests / sizeof *tests, NULL);
    OK(penstock_buffer_close(buffer));
    OK(penstock_device_close(device));
    return 0;
}
