// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/machine/text_watch.h"

#include <utility>

namespace untrap::vmm {

TextWatch::TextWatch(std::string text) : text_(std::move(text)), fallback_(text_.size() + 1) {
    for (std::size_t i = 1, border = 0; i < text_.size(); ++i) {
        while (border > 0 && text_[i] != text_[border]) border = fallback_[border];
        if (text_[i] == text_[border]) ++border;
        fallback_[i + 1] = border;
    }
}

bool TextWatch::feed(char byte) {
    if (text_.empty()) return false;
    while (matched_ > 0 && (matched_ == text_.size() || text_[matched_] != byte)) matched_ = fallback_[matched_];
    if (text_[matched_] == byte) ++matched_;
    return matched_ == text_.size();
}

} // namespace untrap::vmm
