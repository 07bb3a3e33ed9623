// SPDX-License-Identifier: GPL-2.0-only
// Three sorts of the same 100000 words: quick, heap and merge. All must agree and be in order.
// The name is plural because the plain one belongs to BusyBox.
#include "checksum.h"

#include <string.h>

enum { count = 100000 };

static uint32_t original[count], quick[count], heap[count], merged[count], scratch[count];

static void swap_words(uint32_t* a, uint32_t* b) {
    const uint32_t kept = *a;
    *a = *b;
    *b = kept;
}

static void quick_sort(uint32_t* words, int low, int high) {
    while (low < high) {
        const uint32_t pivot = words[low + (high - low) / 2];
        int left = low, right = high;
        while (left <= right) {
            while (words[left] < pivot) ++left;
            while (words[right] > pivot) --right;
            if (left <= right) swap_words(&words[left++], &words[right--]);
        }
        if (right - low < high - left) {
            quick_sort(words, low, right);
            low = left;
        } else {
            quick_sort(words, left, high);
            high = right;
        }
    }
}

static void sift_down(uint32_t* words, int root, int end) {
    for (int child = 2 * root + 1; child < end; child = 2 * root + 1) {
        if (child + 1 < end && words[child] < words[child + 1]) ++child;
        if (words[root] >= words[child]) return;
        swap_words(&words[root], &words[child]);
        root = child;
    }
}

static void heap_sort(uint32_t* words, int size) {
    for (int root = size / 2 - 1; root >= 0; --root) sift_down(words, root, size);
    for (int end = size - 1; end > 0; --end) {
        swap_words(&words[0], &words[end]);
        sift_down(words, 0, end);
    }
}

static void merge_sort(uint32_t* words, int size) {
    for (int width = 1; width < size; width *= 2) {
        for (int start = 0; start < size; start += 2 * width) {
            const int middle = start + width < size ? start + width : size;
            const int end = start + 2 * width < size ? start + 2 * width : size;
            int left = start, right = middle;
            for (int out = start; out < end; ++out)
                scratch[out] =
                    left < middle && (right >= end || words[left] <= words[right]) ? words[left++] : words[right++];
        }
        memcpy(words, scratch, (size_t)size * sizeof *words);
    }
}

int main(int argc, char** argv) {
    (void)argc, (void)argv;
    for (int i = 0; i < count; ++i) original[i] = random_word();
    memcpy(quick, original, sizeof original);
    memcpy(heap, original, sizeof original);
    memcpy(merged, original, sizeof original);
    quick_sort(quick, 0, count - 1);
    heap_sort(heap, count);
    merge_sort(merged, count);
    for (int i = 0; i < count; ++i) {
        if (quick[i] != heap[i] || quick[i] != merged[i] || (i > 0 && quick[i - 1] > quick[i])) {
            printf("sorts: element %d is %08x, %08x, %08x\n", i, (unsigned)quick[i], (unsigned)heap[i],
                   (unsigned)merged[i]);
            return 1;
        }
        checksum_word(quick[i]);
    }
    checksum_report("sort");
    return 0;
}
