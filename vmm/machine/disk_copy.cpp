// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/machine/disk_copy.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "vmm/devices/diagnostics.h"
#include "vmm/memory/descriptor.h"

namespace untrap::vmm {
namespace {

[[noreturn]] void fail(const std::string& path, const char* what) {
    throw Error(fmt::format("disk {}: {}: {}", path, what, std::strerror(errno)));
}

// A file without a name in this directory, -1 when the directory cannot have one.
int unnamed_file(const std::string& directory) {
    const int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) return fd;
    std::string name = directory + "/untrap-disk-XXXXXX";
    const int named = ::mkostemp(name.data(), O_CLOEXEC);
    if (named >= 0) ::unlink(name.c_str());
    return named;
}

// Copies [from, end) at the same offsets.
void copy_extent(const std::string& path, int source, int copy, off_t from, off_t end) {
    std::vector<char> buffer(std::size_t{1} << 20);
    while (from < end) {
        const auto want = std::min<std::size_t>(buffer.size(), static_cast<std::size_t>(end - from));
        const ssize_t got = ::pread(source, buffer.data(), want, from);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) fail(path, "cannot be read");
        if (got == 0) return;
        for (ssize_t done = 0; done < got;) {
            const ssize_t wrote =
                ::pwrite(copy, buffer.data() + done, static_cast<std::size_t>(got - done), from + done);
            if (wrote < 0 && errno == EINTR) continue;
            if (wrote < 0) fail(path, "its copy cannot be written");
            done += wrote;
        }
        from += got;
    }
}

void copy_contents(const std::string& path, int source, int copy) {
    const off_t size = ::lseek(source, 0, SEEK_END); // block devices have no st_size
    if (size < 0) fail(path, "cannot be read");
    if (::ftruncate(copy, size) != 0) fail(path, "its copy cannot be made");
    for (off_t at = 0; at < size;) {
        off_t data = ::lseek(source, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) return; // a hole up to the end
        if (data < 0) data = at;
        off_t hole = ::lseek(source, data, SEEK_HOLE);
        if (hole < 0) hole = size;
        copy_extent(path, source, copy, data, hole);
        at = hole;
    }
}

int private_copy(const std::string& path) {
    const Descriptor source(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (source.get() < 0) throw Error(fmt::format("disk {}: {}", path, std::strerror(errno)));
    struct stat status {};
    if (::fstat(source.get(), &status) != 0) fail(path, "cannot be read");
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
        throw Error(fmt::format("disk {}: neither a file nor a block device", path));
    }
    // A clone must lie in the image's own file system, and costs nothing there.
    const std::string beside = std::filesystem::path(path).parent_path().string();
    Descriptor clone(unnamed_file(beside.empty() ? "." : beside));
    if (clone.get() >= 0 && ::ioctl(clone.get(), FICLONE, source.get()) == 0) return clone.release();

    const char* const temporary = std::getenv("TMPDIR");
    Descriptor copy(unnamed_file(temporary != nullptr && *temporary != 0 ? temporary : "/tmp"));
    if (copy.get() < 0) fail(path, "no temporary file for its copy");
    copy_contents(path, source.get(), copy.get());
    return copy.release();
}

} // namespace

DiskCopies::DiskCopies(const std::vector<DiskOption>& disks) {
    try {
        for (const DiskOption& disk : disks) {
            if (disk.read_only) {
                disks_.push_back(disk);
                continue;
            }
            files_.push_back(private_copy(disk.path));
            disks_.push_back({.path = fmt::format("/proc/self/fd/{}", files_.back()), .read_only = false});
        }
    } catch (...) {
        for (const int fd : files_) ::close(fd);
        throw;
    }
}

DiskCopies::~DiskCopies() {
    for (const int fd : files_) ::close(fd);
}

} // namespace untrap::vmm
