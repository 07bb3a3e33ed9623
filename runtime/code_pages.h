// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

namespace untrap::runtime {

// What the patch registry knows of a 4 KB page of guest real memory.
struct CodePage {
    static constexpr std::uint64_t unused = ~std::uint64_t{0};

    std::uint64_t number = unused; // real address >> 12
    std::uint16_t patched = 0;     // sites that are patched now
    std::uint16_t changes = 0;     // times that the word of a patched site became another one
    std::uint16_t asked = 0;       // since the page was last known to be different: see PatchRegistry::match_due
    bool matched = false;          // its known sites are patched
    bool left_alone = false;       // changed too often: nothing in it is patched any more
};

// Records of pages, fixed in number. A page whose record says nothing of importance may lose it to another.
class CodePages {
  public:
    static constexpr unsigned shift = 12;
    static constexpr unsigned capacity = 2048; // a power of two

    void clear() {
        for (CodePage& page : pages_) page = CodePage{};
    }
    CodePage* find(std::uint64_t real) {
        const std::uint64_t number = real >> shift;
        for (unsigned attempt = 0; attempt < probe_length; ++attempt)
            if (CodePage& page = slot(number, attempt); page.number == number) return &page;
        return nullptr;
    }
    // The record of a page, a new one if it has none; nullptr if there is no room.
    CodePage* claim(std::uint64_t real) {
        if (CodePage* page = find(real)) return page;
        const std::uint64_t number = real >> shift;
        for (unsigned attempt = 0; attempt < probe_length; ++attempt) {
            CodePage& page = slot(number, attempt);
            if (page.number != CodePage::unused && (page.patched != 0 || page.left_alone)) continue;
            page = CodePage{};
            page.number = number;
            return &page;
        }
        return nullptr;
    }
    const CodePage& at(unsigned index) const { return pages_[index]; }

  private:
    static constexpr unsigned probe_length = 8;
    CodePage& slot(std::uint64_t number, unsigned attempt) {
        const auto key = static_cast<std::uint32_t>(number) * 0x9E3779B1U;
        return pages_[((key >> 16) + attempt) & (capacity - 1)];
    }
    CodePage pages_[capacity];
};

} // namespace untrap::runtime
