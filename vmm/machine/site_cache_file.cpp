// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/machine/site_cache_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <tuple>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "vmm/devices/diagnostics.h"
#include "vmm/machine/replace_file.h"
#include "vmm/memory/descriptor.h"

namespace untrap::vmm {
namespace {

using abi::UntrapHotSite;

constexpr std::array<char, 8> magic = {'u', 'n', 't', 'r', 'a', 'p', 'S', 'C'};
constexpr std::uint32_t version = 1;
constexpr std::size_t header_bytes = 24, record_bytes = 16;
constexpr std::size_t most_bytes = header_bytes + record_bytes * abi::untrap_most_hot_sites;
constexpr std::uint32_t page_bytes = 4096;

void put(std::vector<std::uint8_t>& to, std::uint64_t value, unsigned bytes) {
    while (bytes-- != 0) to.push_back(static_cast<std::uint8_t>(value >> (8 * bytes)));
}

std::uint64_t get(const std::uint8_t* from, unsigned bytes) {
    std::uint64_t value = 0;
    while (bytes-- != 0) value = value << 8 | *from++;
    return value;
}

bool before(const UntrapHotSite& a, const UntrapHotSite& b) {
    return std::tie(a.page_hash, a.offset) < std::tie(b.page_hash, b.offset);
}

[[noreturn]] void fail(const std::string& path, std::string_view why) {
    throw Error(fmt::format("--site-cache {}: {}", path, why));
}

// The bytes of a regular file, one more than the most that make sense; empty if there is no such file.
std::vector<std::uint8_t> read_file(const std::string& path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0 && errno == ENOENT) return {};
    struct stat status {};
    if (file.get() < 0 || ::fstat(file.get(), &status) != 0) fail(path, std::strerror(errno));
    if (!S_ISREG(status.st_mode)) fail(path, "not a regular file");
    std::vector<std::uint8_t> bytes(most_bytes + 1);
    std::size_t length = 0;
    while (length < bytes.size()) {
        const ssize_t got = ::read(file.get(), bytes.data() + length, bytes.size() - length);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) fail(path, std::strerror(errno));
        if (got == 0) break;
        length += static_cast<std::size_t>(got);
    }
    bytes.resize(length);
    return bytes;
}

} // namespace

std::vector<std::uint8_t> encode_site_cache(const std::vector<UntrapHotSite>& sites) {
    std::vector<std::uint8_t> records;
    for (const UntrapHotSite& site : sites) {
        put(records, site.page_hash, 8);
        put(records, site.word, 4);
        put(records, site.offset, 2);
        put(records, 0, 2);
    }
    std::vector<std::uint8_t> bytes(magic.begin(), magic.end());
    put(bytes, version, 4);
    put(bytes, sites.size(), 4);
    put(bytes, XXH3_64bits(records.data(), records.size()), 8);
    bytes.insert(bytes.end(), records.begin(), records.end());
    return bytes;
}

std::string decode_site_cache(const std::vector<std::uint8_t>& bytes, std::vector<UntrapHotSite>& sites) {
    sites.clear();
    if (bytes.size() < header_bytes || !std::equal(magic.begin(), magic.end(), bytes.begin()))
        return "no cache of hot sites";
    if (get(&bytes[8], 4) != version) return "of another version";
    const std::uint64_t count = get(&bytes[12], 4);
    if (count > abi::untrap_most_hot_sites || bytes.size() != header_bytes + count * record_bytes)
        return "its length is not what it says";
    const std::uint8_t* record = bytes.data() + header_bytes;
    if (XXH3_64bits(record, bytes.size() - header_bytes) != get(&bytes[16], 8)) return "its checksum is wrong";
    std::vector<UntrapHotSite> found;
    for (std::uint64_t index = 0; index < count; ++index, record += record_bytes) {
        const UntrapHotSite site{.page_hash = get(record, 8),
                                 .word = static_cast<std::uint32_t>(get(record + 8, 4)),
                                 .offset = static_cast<std::uint16_t>(get(record + 12, 2)),
                                 .reserved = 0};
        if (site.offset >= page_bytes || site.offset % 4 != 0 || get(record + 14, 2) != 0 ||
            (!found.empty() && !before(found.back(), site)))
            return fmt::format("record {} is wrong", index);
        found.push_back(site);
    }
    sites = std::move(found);
    return {};
}

std::vector<UntrapHotSite> merge_sites(std::vector<UntrapHotSite> hot, const std::vector<UntrapHotSite>& old) {
    // Two pages of a guest with the same content tell the same sites twice.
    const auto tidy = [](std::vector<UntrapHotSite>& sites) {
        std::ranges::sort(sites, before);
        const auto same = [](const UntrapHotSite& a, const UntrapHotSite& b) { return !before(a, b); };
        sites.erase(std::unique(sites.begin(), sites.end(), same), sites.end());
    };
    tidy(hot);
    hot.resize(std::min<std::size_t>(hot.size(), abi::untrap_most_hot_sites));
    const auto page_before = [](const UntrapHotSite& a, const UntrapHotSite& b) { return a.page_hash < b.page_hash; };
    std::vector<UntrapHotSite> kept;
    for (const UntrapHotSite& site : old) {
        if (hot.size() + kept.size() == abi::untrap_most_hot_sites) break;
        if (!std::binary_search(hot.begin(), hot.end(), site, page_before)) kept.push_back(site);
    }
    hot.insert(hot.end(), kept.begin(), kept.end());
    tidy(hot);
    return hot;
}

SiteCacheFile::SiteCacheFile(std::string path) : path_(std::move(path)) {
    const std::vector<std::uint8_t> bytes = read_file(path_);
    if (const int error = cannot_replace(path_); error != 0)
        fail(path_, fmt::format("cannot be written: {}", std::strerror(error)));
    if (bytes.empty()) return;
    if (const std::string wrong = decode_site_cache(bytes, sites_); !wrong.empty())
        report(fmt::format("--site-cache {}: {}; a new one is begun", path_, wrong));
}

void SiteCacheFile::save(std::vector<UntrapHotSite> hot) {
    const int error = replace_file(path_, encode_site_cache(merge_sites(std::move(hot), sites_)));
    if (error != 0) report(fmt::format("--site-cache {}: cannot be written: {}", path_, std::strerror(error)));
}

} // namespace untrap::vmm
