// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/cli/output_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {

OutputFile::OutputFile(std::string_view option, const std::string& path) : label_(fmt::format("{} {}", option, path)) {
    if (path.empty()) return;
    fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) throw Error(fmt::format("{}: {}", label_, std::strerror(errno)));
}

OutputFile::~OutputFile() {
    if (fd_ >= 0) ::close(fd_);
}

bool OutputFile::write(std::string_view text) {
    if (fd_ < 0) return true;
    // What was in the file stays until there is something to put in its place. Pipes cannot be cut.
    int error = ::ftruncate(fd_, 0) != 0 && errno != EINVAL ? errno : 0;
    while (error == 0 && !text.empty()) {
        const ssize_t wrote = ::write(fd_, text.data(), text.size());
        if (wrote < 0 && errno != EINTR) error = errno;
        if (wrote > 0) text.remove_prefix(static_cast<std::size_t>(wrote));
    }
    if (error != 0) report(fmt::format("{}: {}", label_, std::strerror(error)));
    return error == 0;
}

} // namespace untrap::vmm
