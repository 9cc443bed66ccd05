// Closing, at any moment: queues, runtimes, files, buffers, images and devices, with requests of all kinds in flight.
// Each request that was accepted ends exactly once, before the close of its queue returns; nothing is called
// afterwards; and nothing is left. Arguments: a folder for files, and a seed, if it is not to be one of its own.
#include "check.h"
#include "encoders.h"
#include "gpu.h"

#include <malloc.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#ifdef __SANITIZE_ADDRESS__
enum { ROUNDS = 20, CYCLES = 60 };
#else
enum { ROUNDS = 60, CYCLES = 200 };
#endif
enum { SIZE = 256 << 10, PART = 16384, QUEUES = 3, EACH = 150, REQUESTS = QUEUES * EACH };

static char folder[200], path[256], zstd_path[256];
static unsigned char plain[SIZE], zstd_bytes[2 * PART + 1024], memory[REQUESTS][PART];
static size_t zstd_size;
static uint64_t random_state;

static uint32_t below(uint32_t limit) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % limit);
}

static const penstock_image_description description = {
    .struct_size = sizeof description, .format = VK_FORMAT_R8G8B8A8_UNORM, .width = 64, .height = 64,
    .array_layers = REQUESTS};

// ---- A round

static struct {
    penstock_runtime runtime;
    penstock_queue queues[QUEUES];
    penstock_file file, zstd, copy;
    penstock_device device;
    penstock_buffer buffer;
    penstock_image image;
    // Of each request: whether it was accepted, how often it has ended, and its status word.
    int accepted[REQUESTS];
    atomic_int ended[REQUESTS];
    penstock_status status[REQUESTS];
    atomic_int all_ended, all_accepted, queue_is_over[QUEUES], is_over;
    int closes_in_callback;
} round_;

static int32_t copy_decoder(
    void *user_data, const void *source, uint64_t source_size, void *destination, uint64_t destination_size) {
    CHECK(user_data == &round_ && !round_.is_over && source_size == destination_size);
    memcpy(destination, source, destination_size);
    return 0;
}

static void count(const penstock_completion *completion) {
    const size_t index = (size_t)((atomic_int *)completion->user_data - round_.ended);
    CHECK(index < REQUESTS && !round_.is_over && !round_.queue_is_over[index / EACH]);
    switch (completion->result) {
    case PENSTOCK_OK:
    case PENSTOCK_ERROR_CANCELLED:
    case PENSTOCK_ERROR_FILE_CLOSED:
    case PENSTOCK_ERROR_DEADLINE_EXCEEDED:
        break;
    default:
        OK(completion->result);
    }
    CHECK(++round_.ended[index] == 1);
    round_.all_ended++;
    // One of them may close the queue that it runs on, a file, or what the others are about to use.
    if (round_.closes_in_callback == (int)index) {
        penstock_queue_close(round_.queues[index / EACH]);
        penstock_file_close(round_.file);
        penstock_buffer_close(round_.buffer);
    }
}

static penstock_request any_request(size_t index, penstock_image_part *part) {
    // What they touch is their own: they run side by side.
    *part = (penstock_image_part){.first_layer = (uint32_t)index};
    penstock_request request = read_request(round_.file, below(SIZE - PART), memory[index], PART);
    switch (below(9)) {
    case 0:
        break;
    case 1:
        request.size = 1 + below(PART);
        request.timeout = 1 + below(1000000);
        break;
    case 2:
        request.memory = NULL;
        request.buffer = round_.buffer;
        request.buffer_offset = index * PART;
        break;
    case 3:
        request.file = round_.zstd;
        request.offset = 0;
        request.size = zstd_size;
        set_compression(&request, PENSTOCK_COMPRESSION_ZSTD, PART);
        break;
    case 4:
        request.file = round_.zstd;
        request.offset = 0;
        request.size = zstd_size;
        set_compression(&request, PENSTOCK_COMPRESSION_ZSTD, PART);
        request.memory = NULL;
        request.buffer = round_.buffer;
        request.buffer_offset = index * PART;
        break;
    case 5:
        request.file.id = 0;
        request.offset = 0;
        request.source = plain;
        request.memory = NULL;
        request.buffer = round_.buffer;
        request.buffer_offset = index * PART;
        break;
    case 6:
        request.operation = PENSTOCK_WRITE;
        request.file = round_.copy;
        break;
    case 7:
        request.compression = PENSTOCK_COMPRESSION_CUSTOM;
        request.uncompressed_size = request.size;
        request.decoder = copy_decoder;
        request.decoder_user_data = &round_;
        break;
    case 8:
        request.memory = NULL;
        request.image = round_.image;
        request.parts = part;
        request.part_count = 1;
        request.new_layout = VK_IMAGE_LAYOUT_GENERAL;
        break;
    }
    request.tag = below(4);
    request.callback = count;
    request.user_data = &round_.ended[index];
    request.status = &round_.status[index];
    return request;
}

// Enqueues into a queue until there are no more, or it is gone.
static void *fill_queue(void *argument) {
    const size_t which = (size_t)((penstock_queue *)argument - round_.queues);
    for (size_t index = which * EACH; index < (which + 1) * EACH; index++) {
        pthread_mutex_lock(&gpu.mutex);
        penstock_image_part part;
        const penstock_request request = any_request(index, &part);
        const uint32_t also = below(40);
        pthread_mutex_unlock(&gpu.mutex);
        const penstock_result result = penstock_enqueue(round_.queues[which], &request, 1, NULL);
        if (result == PENSTOCK_OK) {
            round_.accepted[index] = 1;
            round_.all_accepted++;
        } else {
            // Somebody has closed what it needs.
            CHECK(result == PENSTOCK_ERROR_INVALID_HANDLE || result == PENSTOCK_ERROR_QUEUE_CLOSED ||
                  result == PENSTOCK_ERROR_FILE_CLOSED);
        }
        if (also == 0) penstock_cancel(round_.queues[which], 3, 1);
        if (also < 8) penstock_submit(round_.queues[which]);
    }
    return NULL;
}

static void one_round(uint32_t driver, int dispatches) {
    memset(&round_, 0, sizeof round_);
    round_.closes_in_callback = below(3) ? -1 : (int)below(REQUESTS);
    penstock_runtime_options options = {.struct_size = sizeof options, .driver = driver};
    // Those that dispatch do so on this thread, which closes: nobody may have to wait for it, marks included.
    options.delivery = dispatches ? PENSTOCK_DELIVER_ON_DISPATCH : PENSTOCK_DELIVER_ON_RUNTIME_THREAD;
    OK(penstock_runtime_create(&options, &round_.runtime));
    for (int queue = 0; queue < QUEUES; queue++)
        round_.queues[queue] = make_queue(round_.runtime, dispatches ? EACH + 12 : 1 + below(64), PENSTOCK_WHEN_FULL_BLOCK);
    round_.file = open_file(round_.runtime, path, PENSTOCK_ACCESS_READ);
    round_.zstd = open_file(round_.runtime, zstd_path, PENSTOCK_ACCESS_READ);
    round_.copy = new_file(round_.runtime, folder, "copy");
    round_.device = gpu_adopt();
    OK(penstock_buffer_create(round_.device, REQUESTS * PART, 0, &round_.buffer));
    OK(penstock_image_create(round_.device, &description, 0, &round_.image));
    static penstock_status places[QUEUES];
    int event = eventfd(0, EFD_CLOEXEC), events = 0, statuses[QUEUES] = {0};

    pthread_t threads[QUEUES];
    for (int queue = 0; queue < QUEUES; queue++)
        CHECK(pthread_create(&threads[queue], NULL, fill_queue, &round_.queues[queue]) == 0);
    // The moment: once so many have ended, or all that there will be have been enqueued.
    pthread_mutex_lock(&gpu.mutex);
    const int moment = (int)below(REQUESTS), steps = (int)below(12);
    uint32_t what[12];
    for (int step = 0; step < steps; step++) what[step] = below(12);
    pthread_mutex_unlock(&gpu.mutex);
    while (round_.all_ended < moment && round_.all_accepted < moment) {
        if (round_.closes_in_callback >= 0 && round_.all_ended > 0) break;
        if (dispatches) OK(penstock_dispatch(round_.runtime, 1, 0, NULL));
        else sched_yield();
    }
    // Then whatever, in any order. What is closed twice, or was closed by a callback, is told to be no handle.
    for (int step = 0; step < steps; step++) {
        const int queue = (int)what[step] % QUEUES;
        switch (what[step]) {
        case 0:
        case 1:
        case 2:
            if (penstock_queue_close(round_.queues[queue]) == PENSTOCK_OK) round_.queue_is_over[queue] = 1;
            break;
        case 3:
            penstock_file_close(round_.file);
            break;
        case 4:
            penstock_file_close(round_.zstd);
            break;
        case 5:
            penstock_buffer_close(round_.buffer);
            break;
        case 6:
            penstock_image_close(round_.image);
            break;
        case 7:
            penstock_device_close(round_.device);
            break;
        case 8:
            events += penstock_enqueue_event(round_.queues[queue], event) == PENSTOCK_OK;
            break;
        case 9:
            statuses[queue] |= penstock_enqueue_status(round_.queues[queue], &places[queue]) == PENSTOCK_OK;
            break;
        case 10:
            penstock_cancel(round_.queues[queue], 0, 0);
            break;
        case 11:
            step = steps;
            break;
        }
    }
    OK(penstock_runtime_close(round_.runtime));
    round_.is_over = 1;
    for (int queue = 0; queue < QUEUES; queue++) pthread_join(threads[queue], NULL);
    int accepted = 0;
    for (int index = 0; index < REQUESTS; index++) {
        CHECK(round_.ended[index] == round_.accepted[index]);
        if (round_.accepted[index]) CHECK(penstock_status_load(&round_.status[index]) <= PENSTOCK_OK);
        accepted += round_.accepted[index];
    }
    CHECK(accepted == round_.all_ended);
    uint64_t signals = 0;
    if (events) CHECK(read(event, &signals, sizeof signals) == sizeof signals && signals == (uint64_t)events);
    for (int queue = 0; queue < QUEUES; queue++)
        if (statuses[queue]) CHECK(penstock_status_load(&places[queue]) <= PENSTOCK_OK);
    close(event);
    penstock_buffer_close(round_.buffer);
    penstock_image_close(round_.image);
    penstock_device_close(round_.device);
}

// ---- Nothing is left

static void nothing_grows(uint32_t driver) {
    size_t before = 0;
    for (int cycle = 0; cycle < CYCLES; cycle++) {
        // What is made once for all has been made by then.
        if (cycle == 50) before = mallinfo2().uordblks + mallinfo2().hblkhd;
        penstock_runtime runtime = make_runtime(driver);
        penstock_queue queue = make_queue(runtime, 64, PENSTOCK_WHEN_FULL_BLOCK);
        penstock_file file = open_file(runtime, path, PENSTOCK_ACCESS_READ);
        penstock_device device = gpu_adopt();
        penstock_buffer buffer;
        OK(penstock_buffer_create(device, 20 * PART, 0, &buffer));
        for (int index = 0; index < 20; index++) {
            penstock_request request = read_request(file, 0, memory[index], PART);
            if (index % 3 == 1) {
                request.memory = NULL;
                request.buffer = buffer;
                request.buffer_offset = (uint64_t)index * PART;
            }
            if (index % 3 == 2) {
                request.source = zstd_bytes;
                request.file.id = 0;
                request.size = zstd_size;
                set_compression(&request, PENSTOCK_COMPRESSION_ZSTD, PART);
            }
            OK(penstock_enqueue(queue, &request, 1, NULL));
        }
        // In all orders.
        if (cycle & 1) OK(penstock_queue_close(queue));
        if (cycle & 2) OK(penstock_file_close(file));
        if (cycle & 4) OK(penstock_device_close(device));
        if (cycle & 8) OK(penstock_buffer_close(buffer));
        OK(penstock_runtime_close(runtime));
        if (!(cycle & 8)) OK(penstock_buffer_close(buffer));
        if (!(cycle & 4)) OK(penstock_device_close(device));
    }
    const size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
    // Validation layers remember what there has been.
    const char *layers = getenv("VK_INSTANCE_LAYERS");
    if (layers && layers[0]) return;
    printf("    %zd bytes more after %d cycles\n", (ssize_t)(after - before), CYCLES - 50);
    CHECK(after < before + (64 << 10));
}

int main(int count_of_arguments, char **arguments) {
    CHECK(count_of_arguments >= 2);
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(folder, sizeof folder, "%s", arguments[1]);
    const uint64_t seed = count_of_arguments > 2 ? strtoull(arguments[2], NULL, 0) : now_ns();
    printf("    seed %llu\n", (unsigned long long)seed);
    make_file(path, folder, "large", SIZE);
    fill(plain, 0, SIZE);
    zstd_size = encode(PENSTOCK_COMPRESSION_ZSTD, 1, plain, PART, zstd_bytes);
    snprintf(zstd_path, sizeof zstd_path, "%s/zstd", folder);
    FILE *stream = fopen(zstd_path, "wb");
    CHECK(stream && fwrite(zstd_bytes, 1, zstd_size, stream) == zstd_size && fclose(stream) == 0);
    gpu_open();
    const uint32_t drivers[] = {PENSTOCK_DRIVER_IO_URING, PENSTOCK_DRIVER_THREADS};
    for (int driver = 0; driver < 2; driver++) {
        random_state = seed;
        // The first may load what stays.
        one_round(drivers[driver], 0);
        const int threads = count_entries("/proc/self/task"), descriptors = count_entries("/proc/self/fd");
        const uint64_t start = now_ns();
        for (int round = 0; round < ROUNDS; round++) {
            one_round(drivers[driver], round % 2);
            await_entries("/proc/self/task", threads);
            CHECK(count_entries("/proc/self/fd") == descriptors);
        }
        nothing_grows(drivers[driver]);
        await_entries("/proc/self/task", threads);
        CHECK(count_entries("/proc/self/fd") == descriptors);
        printf("ok  closing at any moment, %s: %.1f ms\n", driver ? "threads" : "io_uring",
               (double)(now_ns() - start) / 1e6);
    }
    gpu_close();
    return 0;
}
