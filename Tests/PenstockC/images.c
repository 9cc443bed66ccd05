// Images of the host's: whole ones in every order, boxes of them with rows apart, of several dimensions and formats, in
// the layouts that are asked for; each is looked at with commands of the host's own. Arguments: a folder for files.
#include "check.h"
#include "gpu.h"

enum { FILE_SIZE = 1 << 20 };

static char folder[200], path[256];
static penstock_runtime runtime;
static penstock_queue queue;
static penstock_device device;
static penstock_file file, copy;
static gpu_buffer seen;

static penstock_request image_request(uint32_t operation, const gpu_image *image, uint64_t offset, uint64_t size) {
    penstock_request request = read_request(operation == PENSTOCK_READ ? file : copy, offset, NULL, size);
    request.operation = operation;
    request.image = image->adopted;
    request.old_layout = operation == PENSTOCK_READ ? VK_IMAGE_LAYOUT_UNDEFINED : VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL;
    request.new_layout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL;
    return request;
}

typedef struct box {
    uint32_t mip, layer, x, y, z, width, height, depth;
} box;

// Copies a box to where it can be seen, row next to row.
static void look(const gpu_image *image, VkImageLayout layout, box box) {
    const VkBufferImageCopy region = {
        .imageSubresource = {
            .aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .mipLevel = box.mip, .baseArrayLayer = box.layer, .layerCount = 1},
        .imageOffset = {(int32_t)box.x, (int32_t)box.y, (int32_t)box.z},
        .imageExtent = {box.width, box.height, box.depth}};
    memset(seen.bytes, 0xDD, FILE_SIZE);
    gpu_look(image->handle, layout, region, &seen);
}

static uint32_t shrunk(uint32_t size, uint32_t mip) { return size >> mip ? size >> mip : 1; }

// ---- Whole images

static const struct {
    const char *name;
    VkFormat format;
    uint32_t block_bytes, block_size;  // of one texel, or a block of so many by so many
    uint32_t width, height, depth, mips, layers, dimensions;
} shapes[] = {
    {"2D, levels and layers", VK_FORMAT_R8G8B8A8_UNORM, 4, 1, 128, 64, 1, 8, 3, 0},
    {"2D, odd sizes", VK_FORMAT_R8G8B8A8_UNORM, 4, 1, 77, 33, 1, 7, 2, 0},
    {"one byte a texel", VK_FORMAT_R8_UNORM, 1, 1, 61, 47, 1, 6, 2, 0},
    {"sixteen bytes a texel", VK_FORMAT_R32G32B32A32_SFLOAT, 16, 1, 30, 20, 1, 5, 1, 0},
    {"blocks of 4 by 4", VK_FORMAT_BC1_RGBA_UNORM_BLOCK, 8, 4, 100, 60, 1, 7, 2, 0},
    {"blocks of 4 by 4, 16 bytes", VK_FORMAT_BC7_UNORM_BLOCK, 16, 4, 64, 64, 1, 7, 1, 0},
    {"3D", VK_FORMAT_R8G8B8A8_UNORM, 4, 1, 32, 16, 8, 6, 1, 0},
    {"1D", VK_FORMAT_R8G8B8A8_UNORM, 4, 1, 200, 1, 1, 8, 2, 1},
    {"2D of one row", VK_FORMAT_R8G8B8A8_UNORM, 4, 1, 200, 1, 1, 1, 1, 2},
};

static penstock_image_description describe(size_t shape) {
    penstock_image_description description = {
        .struct_size = sizeof description, .format = shapes[shape].format, .width = shapes[shape].width,
        .height = shapes[shape].height, .depth = shapes[shape].depth, .mip_levels = shapes[shape].mips,
        .array_layers = shapes[shape].layers, .dimensions = shapes[shape].dimensions};
    return description;
}

static uint64_t level_bytes(size_t shape, uint32_t mip) {
    const uint32_t block = shapes[shape].block_size;
    const uint64_t across = (shrunk(shapes[shape].width, mip) + block - 1) / block;
    const uint64_t down = (shrunk(shapes[shape].height, mip) + block - 1) / block;
    return across * down * shrunk(shapes[shape].depth, mip) * shapes[shape].block_bytes;
}

// Where a level of a layer is among the bytes of the whole image.
static uint64_t place_of(size_t shape, uint32_t order, uint32_t mip, uint32_t layer) {
    const uint32_t mips = shapes[shape].mips, layers = shapes[shape].layers;
    uint64_t at = 0;
    if (order == PENSTOCK_ORDER_LAYERS) {
        for (uint32_t level = 0; level < mips; level++) at += layer * level_bytes(shape, level);
        for (uint32_t level = 0; level < mip; level++) at += level_bytes(shape, level);
        return at;
    }
    for (uint32_t level = 0; level < mips; level++) {
        const int is_before = order == PENSTOCK_ORDER_MIPS ? level < mip : level > mip;
        if (is_before) at += layers * level_bytes(shape, level);
    }
    return at + layer * level_bytes(shape, mip);
}

static void whole_images(size_t shape) {
    const penstock_image_description description = describe(shape);
    gpu_image image = gpu_make_image(device, &description);
    uint64_t size = 0, expected = 0;
    OK(penstock_image_size(image.adopted, &size));
    for (uint32_t mip = 0; mip < shapes[shape].mips; mip++) expected += shapes[shape].layers * level_bytes(shape, mip);
    CHECK(size == expected);
    for (uint32_t order = PENSTOCK_ORDER_MIPS; order <= PENSTOCK_ORDER_LAYERS; order++) {
        const uint64_t start = 1000 * order + 13;
        penstock_request request = image_request(PENSTOCK_READ, &image, start, size);
        request.order = order;
        CHECK(perform(queue, &request).bytes == size);
        for (uint32_t mip = 0; mip < shapes[shape].mips; mip++) {
            for (uint32_t layer = 0; layer < shapes[shape].layers; layer++) {
                look(&image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
                     (box){mip, layer, 0, 0, 0, shrunk(shapes[shape].width, mip), shrunk(shapes[shape].height, mip),
                           shrunk(shapes[shape].depth, mip)});
                CHECK(matches(seen.bytes, start + place_of(shape, order, mip, layer), level_bytes(shape, mip)));
                CHECK(seen.bytes[level_bytes(shape, mip)] == 0xDD);
            }
        }
        // And back, in the same order.
        request = image_request(PENSTOCK_WRITE, &image, 0, size);
        request.order = order;
        CHECK(perform(queue, &request).bytes == size);
        expect_file(folder, "copy", start, size);
    }
    gpu_destroy_image(&image);
    printf("ok  %s\n", shapes[shape].name);
}

// ---- Boxes

static const penstock_image_description layered = {
    .struct_size = sizeof layered, .format = VK_FORMAT_R8G8B8A8_UNORM, .width = 64, .height = 64, .mip_levels = 4,
    .array_layers = 4};

static void boxes_with_rows_apart(void) {
    gpu_image image = gpu_make_image(device, &layered);
    uint64_t size;
    OK(penstock_image_size(image.adopted, &size));
    penstock_request request = image_request(PENSTOCK_READ, &image, 0, size);
    OK(result_of(queue, &request));
    // Three levels, some layers and boxes in one request, with rows of their own lengths, and a gap in front of the last.
    const penstock_image_part parts[] = {
        {.mip = 0, .first_layer = 1, .layer_count = 2, .x = 7, .y = 9, .width = 20, .height = 5, .row_pitch = 256},
        {.mip = 2, .first_layer = 3, .row_pitch = 100},
        {.mip = 1, .first_layer = 0, .x = 31, .y = 31, .gap = 412},
    };
    const uint64_t starts[] = {0, 2 * 5 * 256, 2 * 5 * 256 + 16 * 100 + 412};
    const uint64_t total = starts[2] + 4, from = 5000;
    for (int is_from_memory = 0; is_from_memory < 2; is_from_memory++) {
        static unsigned char source[8192];
        const uint64_t first = from + 333 * (uint64_t)is_from_memory;
        fill(source, first, total);
        request = image_request(PENSTOCK_READ, &image, first, total);
        request.old_layout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL;
        // Nothing of the list is kept.
        penstock_image_part *given = malloc(sizeof parts);
        memcpy(given, parts, sizeof parts);
        request.parts = given;
        request.part_count = 3;
        if (is_from_memory) {
            request.file.id = 0;
            request.offset = 0;
            request.source = source;
        }
        ending end = {0};
        request.callback = keep_ending;
        request.user_data = &end;
        OK(penstock_enqueue(queue, &request, 1, NULL));
        memset(given, 0xFF, sizeof parts);
        free(given);
        OK(penstock_wait(queue, UINT64_MAX));
        CHECK(end.count == 1 && end.completion.result == PENSTOCK_OK && end.completion.bytes == total);
        for (uint32_t layer = 0; layer < 2; layer++) {
            look(&image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, (box){0, 1 + layer, 7, 9, 0, 20, 5, 1});
            for (uint32_t row = 0; row < 5; row++)
                CHECK(matches(seen.bytes + row * 80, first + starts[0] + layer * 5 * 256 + row * 256, 80));
        }
        look(&image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, (box){2, 3, 0, 0, 0, 16, 16, 1});
        for (uint32_t row = 0; row < 16; row++)
            CHECK(matches(seen.bytes + row * 64, first + starts[1] + row * 100, 64));
        look(&image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, (box){1, 0, 31, 31, 0, 1, 1, 1});
        CHECK(matches(seen.bytes, first + starts[2], 4));
        // What lies around them is as it was: it was not in an undefined layout.
        look(&image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, (box){0, 1, 0, 0, 0, 64, 9, 1});
        CHECK(matches(seen.bytes, 64 * 64 * 4, 64 * 9 * 4));
        look(&image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, (box){0, 1, 27, 9, 0, 37, 1, 1});
        CHECK(matches(seen.bytes, 64 * 64 * 4 + (64 * 9 + 27) * 4, 37 * 4));
        // Out again, with rows next to each other.
        penstock_image_part tight[3];
        memcpy(tight, parts, sizeof parts);
        for (int part = 0; part < 3; part++) tight[part].row_pitch = tight[part].gap = 0;
        request = image_request(PENSTOCK_WRITE, &image, 0, 2 * 5 * 80 + 16 * 64 + 4);
        request.parts = tight;
        request.part_count = 3;
        OK(result_of(queue, &request));
        static unsigned char back[2 * 5 * 80 + 16 * 64 + 4];
        penstock_request read = read_request(copy, 0, back, sizeof back);
        CHECK(perform(queue, &read).bytes == sizeof back);
        for (uint32_t row = 0; row < 10; row++) CHECK(matches(back + row * 80, first + row * 256, 80));
        for (uint32_t row = 0; row < 16; row++)
            CHECK(matches(back + 800 + row * 64, first + starts[1] + row * 100, 64));
        CHECK(matches(back + 800 + 1024, first + starts[2], 4));
    }

    // Boxes that are none, and sizes that are not theirs.
    static const struct {
        penstock_image_part part;
        uint64_t size;
    } bad[] = {
        {{.mip = 4}, 4},
        {{.first_layer = 4}, 64 * 64 * 4},
        {{.first_layer = 3, .layer_count = 2}, 2 * 64 * 64 * 4},
        {{.x = 64}, 4},
        {{.x = 63, .width = 2}, 2 * 64 * 4},
        {{.y = 60, .height = 5}, 5 * 64 * 4},
        {{.z = 1}, 64 * 64 * 4},
        {{.depth = 2}, 2 * 64 * 64 * 4},
        {{.x = UINT32_MAX, .width = 2}, 2 * 64 * 4},
        {{.row_pitch = 255}, 64 * 255},
        {{.row_pitch = 257}, 64 * 257},
        {{.row_pitch = UINT64_MAX}, 64},
        {{.row_pitch = 1ull << 40}, 64},
        {{0}, 64 * 64 * 4 - 1},
        {{0}, 64 * 64 * 4 + 1},
        {{.gap = 16}, 64 * 64 * 4},
        {{.gap = UINT32_MAX}, 64 * 64 * 4},
    };
    for (size_t index = 0; index < sizeof bad / sizeof *bad; index++) {
        request = image_request(PENSTOCK_READ, &image, 0, bad[index].size);
        request.parts = &bad[index].part;
        request.part_count = 1;
        const penstock_result result = penstock_enqueue(queue, &request, 1, NULL);
        CHECK(result == PENSTOCK_ERROR_INVALID_RANGE || result == PENSTOCK_ERROR_INVALID_ARGUMENT ||
              result == PENSTOCK_ERROR_NOT_SUPPORTED);
    }
    // Two boxes with a texel in common: which of them would it be?
    const penstock_image_part twice[] = {{.width = 8, .height = 8}, {.x = 7, .y = 7, .width = 8, .height = 8}};
    request = image_request(PENSTOCK_READ, &image, 0, 2 * 8 * 8 * 4);
    request.parts = twice;
    request.part_count = 2;
    CHECK(penstock_enqueue(queue, &request, 1, NULL) < 0);
    gpu_destroy_image(&image);
    printf("ok  boxes with rows apart\n");
}

// Parts of blocks begin and end on them, except at the edge.
static void boxes_of_blocks(void) {
    const penstock_image_description blocks = {
        .struct_size = sizeof blocks, .format = VK_FORMAT_BC1_RGBA_UNORM_BLOCK, .width = 30, .height = 30};
    gpu_image image = gpu_make_image(device, &blocks);
    penstock_request request = image_request(PENSTOCK_READ, &image, 0, 8 * 8 * 8);
    OK(result_of(queue, &request));
    const struct {
        penstock_image_part part;
        uint64_t size;
        int is_good;
    } cases[] = {
        {{.x = 4, .y = 8, .width = 8, .height = 4}, 2 * 8, 1},
        {{.x = 24, .y = 28}, 2 * 8, 1},
        {{.x = 24, .y = 28, .width = 6, .height = 2}, 2 * 8, 1},
        {{.x = 2, .width = 4, .height = 4}, 8, 0},
        {{.width = 6, .height = 4}, 2 * 8, 0},
    };
    for (size_t index = 0; index < sizeof cases / sizeof *cases; index++) {
        request = image_request(PENSTOCK_READ, &image, 100, cases[index].size);
        request.old_layout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL;
        request.parts = &cases[index].part;
        request.part_count = 1;
        if (cases[index].is_good) OK(result_of(queue, &request));
        else EXPECT(PENSTOCK_ERROR_INVALID_RANGE, penstock_enqueue(queue, &request, 1, NULL));
    }
    look(&image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, (box){0, 0, 4, 8, 0, 8, 4, 1});
    CHECK(matches(seen.bytes, 100, 16));
    gpu_destroy_image(&image);
    printf("ok  boxes of blocks\n");
}

// ---- Layouts

static void layouts_are_as_asked_for(void) {
    static const VkImageLayout layouts[] = {
        VK_IMAGE_LAYOUT_GENERAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
        VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL};
    gpu_image image = gpu_make_image(device, &layered);
    uint64_t size;
    OK(penstock_image_size(image.adopted, &size));
    VkImageLayout now = VK_IMAGE_LAYOUT_UNDEFINED;
    for (int step = 0; step < 16; step++) {
        const VkImageLayout next = layouts[step % 4];
        // Each to each, by reading and by writing: the layers say what does not fit.
        const int is_write = step % 3 == 2 && now != VK_IMAGE_LAYOUT_UNDEFINED;
        penstock_request request = image_request(is_write ? PENSTOCK_WRITE : PENSTOCK_READ, &image, 0, size);
        request.old_layout = now;
        request.new_layout = next;
        OK(result_of(queue, &request));
        now = next;
    }
    // The last is the shaders'; the host takes it from there.
    gpu_begin();
    const VkImageMemoryBarrier barrier = {
        .sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER, .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT, .oldLayout = now,
        .newLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
        .srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED, .dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
        .image = image.handle,
        .subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, VK_REMAINING_MIP_LEVELS, 0, VK_REMAINING_ARRAY_LAYERS}};
    gpu.CmdPipelineBarrier(gpu.commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 0, NULL,
                           0, NULL, 1, &barrier);
    gpu_run();
    look(&image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, (box){0, 2, 0, 0, 0, 64, 64, 1});
    CHECK(matches(seen.bytes, 2 * 64 * 64 * 4, 64 * 64 * 4));
    // A layout that no command could leave it in.
    penstock_request request = image_request(PENSTOCK_READ, &image, 0, size);
    request.new_layout = VK_IMAGE_LAYOUT_UNDEFINED;
    const penstock_result result = penstock_enqueue(queue, &request, 1, NULL);
    CHECK(result < 0);
    printf("ok  layouts; none to be left in: %s\n", penstock_result_name(result));
    gpu_destroy_image(&image);
}

// ---- Ends of files, and misuse

static void files_may_end_early(void) {
    gpu_image image = gpu_make_image(device, &layered);
    uint64_t size;
    OK(penstock_image_size(image.adopted, &size));
    penstock_request request = image_request(PENSTOCK_READ, &image, 0, size);
    OK(result_of(queue, &request));
    // Ten rows of the first layer are there, and a half.
    request = image_request(PENSTOCK_READ, &image, FILE_SIZE - 10 * 256 - 128, size);
    request.old_layout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL;
    const penstock_completion completion = perform(queue, &request);
    OK(completion.result);
    CHECK(completion.bytes <= 10 * 256 + 128);
    // Nothing of what was not read: another layer is what it was.
    look(&image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, (box){0, 0, 0, 0, 0, 64, 10, 1});
    CHECK(matches(seen.bytes, FILE_SIZE - 10 * 256 - 128, 10 * 256));
    look(&image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, (box){0, 0, 0, 11, 0, 64, 53, 1});
    CHECK(matches(seen.bytes, 11 * 256, 53 * 256));
    look(&image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, (box){0, 1, 0, 0, 0, 64, 64, 1});
    CHECK(matches(seen.bytes, 64 * 256, 64 * 256));
    gpu_destroy_image(&image);
    printf("ok  files end early: %llu bytes\n", (unsigned long long)completion.bytes);
}

static void misuse_is_refused(void) {
    penstock_image image;
    const uint64_t handle = 0x1234;
    penstock_image_description bad;
#define REFUSED(expected, change)                                                                    \
    bad = layered;                                                                                   \
    change;                                                                                          \
    EXPECT(expected, penstock_image_adopt(device, handle, &bad, &image));                            \
    EXPECT(expected, penstock_image_create(device, &bad, 0, &image))
    REFUSED(PENSTOCK_ERROR_STRUCT_SIZE, bad.struct_size = 0);
    REFUSED(PENSTOCK_ERROR_STRUCT_SIZE, bad.struct_size = UINT32_MAX);
    REFUSED(PENSTOCK_ERROR_INVALID_ARGUMENT, bad.reserved = 1);
    REFUSED(PENSTOCK_ERROR_INVALID_ARGUMENT, bad.is_cube = 2);
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_image_adopt(device, handle, NULL, &image));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_image_adopt(device, handle, &layered, NULL));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_image_create(device, NULL, 0, &image));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_image_create(device, &layered, 0, NULL));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_image_adopt((penstock_device){0}, handle, &layered, &image));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_image_create((penstock_device){0}, &layered, 0, &image));
    // What no device could make, or nobody could say the size of.
    bad = layered;
    bad.format = 0x7FFFFFFF;
    CHECK(penstock_image_adopt(device, handle, &bad, &image) < 0 && penstock_image_create(device, &bad, 0, &image) < 0);
    bad = layered;
    bad.mip_levels = 100;
    CHECK(penstock_image_adopt(device, handle, &bad, &image) < 0 && penstock_image_create(device, &bad, 0, &image) < 0);
    bad = layered;
    bad.dimensions = 4;
    CHECK(penstock_image_adopt(device, handle, &bad, &image) < 0 && penstock_image_create(device, &bad, 0, &image) < 0);
    bad = layered;
    bad.dimensions = 1;
    CHECK(penstock_image_adopt(device, handle, &bad, &image) < 0 && penstock_image_create(device, &bad, 0, &image) < 0);

    // A cube of the library's own, which has six sides.
    penstock_image_description cube = layered;
    cube.array_layers = 6;
    cube.is_cube = 1;
    OK(penstock_image_create(device, &cube, VK_IMAGE_USAGE_SAMPLED_BIT, &image));
    uint64_t size;
    OK(penstock_image_size(image, &size));
    CHECK(size == 6 * (64 * 64 + 32 * 32 + 16 * 16 + 8 * 8) * 4);
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_image_size(image, NULL));
    OK(penstock_image_close(image));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_image_size(image, &size));
    printf("ok  misuse is refused\n");
}

int main(int count_of_arguments, char **arguments) {
    CHECK(count_of_arguments == 2);
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(folder, sizeof folder, "%s", arguments[1]);
    make_file(path, folder, "large", FILE_SIZE);
    gpu_open();
    device = gpu_adopt();
    runtime = make_runtime(PENSTOCK_DRIVER_AUTOMATIC);
    queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    file = open_file(runtime, path, PENSTOCK_ACCESS_READ);
    copy = new_file(runtime, folder, "copy");
    seen = gpu_make_buffer(device, FILE_SIZE, 0);
    for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++) whole_images(shape);
    boxes_with_rows_apart();
    boxes_of_blocks();
    layouts_are_as_asked_for();
    files_may_end_early();
    misuse_is_refused();
    OK(penstock_runtime_close(runtime));
    gpu_destroy_buffer(&seen);
    OK(penstock_device_close(device));
    gpu_close();
    return 0;
}
