// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>
#include <string_view>

namespace untrap::vmm {

// A file that will be written when a run is over, opened before it starts so that a bad path costs no run.
class OutputFile {
  public:
    // Nothing happens for an empty path. Throws Error naming option and path when the file cannot be written.
    OutputFile(std::string_view option, const std::string& path);
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    // False after a line on stderr when the text could not be written.
    bool write(std::string_view text);

  private:
    std::string label_;
    int fd_ = -1;
};

} // namespace untrap::vmm
