// SPDX-License-Identifier: GPL-2.0-only
// Strings: an operation writes 400 lines of text with numbers in them, cuts them into words again, reads the numbers
// back and counts the words in a table.
#include "bench/programs/load.h"

#include <ctype.h>
#include <string.h>

enum { lines = 400, slots = 256, longest = 16 };

static char text[lines * 64];
static struct {
    char word[longest];
    uint32_t times;
} table[slots];

static void count_word(const char* word) {
    uint32_t slot = 5381;
    for (const char* c = word; *c != '\0'; ++c) slot = slot * 33 + (uint8_t)*c;
    for (slot %= slots; table[slot].times != 0 && strcmp(table[slot].word, word) != 0;) slot = (slot + 1) % slots;
    if (table[slot].times++ == 0) memcpy(table[slot].word, word, strlen(word) + 1);
}

int main(int argc, char** argv) {
    static const char* const words[] = {"River",  "stone",  "WINTER", "Harbour", "glass",  "lamp", "Orchard", "north",
                                        "Copper", "violin", "Cloud",  "paper",   "engine", "MOSS", "Letter",  "salt"};
    const uint32_t count = operation_count(argc, argv);
    const uint64_t started = nanoseconds_now();
    for (uint32_t n = 0; n < count; ++n) {
        size_t used = 0;
        uint32_t written = 0, read_back = 0;
        memset(table, 0, sizeof table);
        for (int line = 0; line < lines; ++line) {
            const uint32_t number = random_word();
            written += number;
            used += (size_t)snprintf(text + used, sizeof text - used, "%s %u, %s-%s;\n", words[number & 15],
                                     (unsigned)number, words[number >> 4 & 15], words[number >> 8 & 15]);
        }
        for (char* at = text; *at != '\0';) {
            at += strspn(at, " ,;-\n");
            const size_t length = strcspn(at, " ,;-\n");
            if (length == 0) break;
            if (isdigit((unsigned char)*at)) {
                read_back += (uint32_t)strtoul(at, NULL, 10);
            } else if (length < longest) {
                char word[longest];
                for (size_t i = 0; i < length; ++i) word[i] = (char)tolower((unsigned char)at[i]);
                word[length] = '\0';
                count_word(word);
            }
            at += length;
        }
        if (read_back != written) {
            fprintf(stderr, "strings: numbers come back as %08x, not %08x\n", (unsigned)read_back, (unsigned)written);
            return 1;
        }
        for (int slot = 0; slot < slots; ++slot) checksum_word(table[slot].times);
    }
    load_report("strings", count, nanoseconds_now() - started);
    return 0;
}
