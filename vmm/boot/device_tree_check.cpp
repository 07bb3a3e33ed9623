// SPDX-License-Identifier: GPL-2.0-only
#include <cstddef>
#include <libfdt.h>

#include "vmm/boot/device_tree.h"

namespace untrap::vmm {
namespace {

// The structure block, tag by tag: one root node without a name, properties inside nodes only, every property's name in
// the strings block. fdt_next_tag() itself refuses tags, names and values that leave the block.
int structure_error(const void* blob) {
    int depth = 0;
    bool root_seen = false;
    int offset = 0;
    for (;;) {
        int next = 0;
        const std::uint32_t tag = fdt_next_tag(blob, offset, &next);
        if (next < 0) return next;
        switch (tag) {
        case FDT_NOP: break;
        case FDT_END: return depth == 0 && root_seen ? 0 : -FDT_ERR_BADSTRUCTURE;
        case FDT_BEGIN_NODE:
            if (depth == 0) {
                const char* name = fdt_get_name(blob, offset, nullptr);
                if (root_seen || name == nullptr || *name != 0) return -FDT_ERR_BADSTRUCTURE;
                root_seen = true;
            }
            ++depth;
            break;
        case FDT_END_NODE:
            if (depth == 0) return -FDT_ERR_BADSTRUCTURE;
            --depth;
            break;
        case FDT_PROP: {
            if (depth == 0) return -FDT_ERR_BADSTRUCTURE;
            const char* name = nullptr;
            int length = 0;
            if (fdt_getprop_by_offset(blob, offset, &name, &length) == nullptr) return length;
            break;
        }
        default: return -FDT_ERR_BADSTRUCTURE;
        }
        offset = next;
    }
}

} // namespace

int device_tree_error(std::span<const std::uint8_t> blob) {
    // The header's size depends on its version, which stands within the first one's size.
    if (blob.size() < FDT_V1_SIZE || blob.size() < fdt_header_size(blob.data())) return -FDT_ERR_TRUNCATED;
    const int header = fdt_check_header(blob.data());
    if (header != 0) return header;
    if (blob.size() < fdt_totalsize(blob.data())) return -FDT_ERR_TRUNCATED;
    const int reservations = fdt_num_mem_rsv(blob.data());
    if (reservations < 0) return reservations;
    return structure_error(blob.data());
}

} // namespace untrap::vmm
