// SPDX-License-Identifier: GPL-2.0-only
// Sorting: an operation sorts the same 4096 fresh words twice, by quicksort and by merging, and compares the results.
#include "bench/programs/load.h"

#include <string.h>

enum { size = 4096 };

static uint32_t quick[size], merged[size], scratch[size];

static void quick_sort(uint32_t* words, int low, int high) {
    while (high - low > 12) {
        const uint32_t pivot = words[low + (high - low) / 2];
        int left = low, right = high;
        while (left <= right) {
            while (words[left] < pivot) ++left;
            while (words[right] > pivot) --right;
            if (left <= right) {
                const uint32_t kept = words[left];
                words[left++] = words[right];
                words[right--] = kept;
            }
        }
        if (right - low < high - left) {
            quick_sort(words, low, right);
            low = left;
        } else {
            quick_sort(words, left, high);
            high = right;
        }
    }
    for (int i = low + 1; i <= high; ++i) {
        const uint32_t word = words[i];
        int at = i;
        for (; at > low && words[at - 1] > word; --at) words[at] = words[at - 1];
        words[at] = word;
    }
}

static void merge_sort(void) {
    for (int width = 1; width < size; width *= 2) {
        for (int start = 0; start < size; start += 2 * width) {
            const int middle = start + width, end = start + 2 * width;
            int left = start, right = middle;
            for (int out = start; out < end; ++out)
                scratch[out] =
                    left < middle && (right >= end || merged[left] <= merged[right]) ? merged[left++] : merged[right++];
        }
        memcpy(merged, scratch, sizeof merged);
    }
}

int main(int argc, char** argv) {
    const uint32_t count = operation_count(argc, argv);
    const uint64_t started = nanoseconds_now();
    for (uint32_t n = 0; n < count; ++n) {
        for (int i = 0; i < size; ++i) quick[i] = merged[i] = random_word();
        quick_sort(quick, 0, size - 1);
        merge_sort();
        if (memcmp(quick, merged, sizeof quick) != 0) {
            fprintf(stderr, "sort: the two sorts of operation %u differ\n", (unsigned)n);
            return 1;
        }
        checksum_word(quick[0] ^ quick[size / 2] ^ quick[size - 1]);
    }
    load_report("sort", count, nanoseconds_now() - started);
    return 0;
}
