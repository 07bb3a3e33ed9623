// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace untrap::vmm {

// Finds a text in a stream of bytes, whatever pieces the stream comes in (Knuth, Morris, Pratt).
class TextWatch {
  public:
    explicit TextWatch(std::string text);

    // True when this byte completes the text. An empty text is never found.
    bool feed(char byte);

  private:
    std::string text_;
    std::vector<std::size_t> fallback_; // longest proper border of each prefix
    std::size_t matched_ = 0;
};

} // namespace untrap::vmm
