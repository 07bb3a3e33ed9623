// SPDX-License-Identifier: GPL-2.0-only
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/devices/diagnostics.h"
#include "vmm/machine/site_cache_file.h"

using namespace untrap::vmm;
using untrap::abi::UntrapHotSite;

namespace {

struct Folder {
    Folder() {
        std::string name = "/tmp/untrap-test.XXXXXX";
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~Folder() { std::filesystem::remove_all(path); }
    std::filesystem::path path;
};

bool same(const std::vector<UntrapHotSite>& a, const std::vector<UntrapHotSite>& b) {
    return std::ranges::equal(a, b, [](const UntrapHotSite& x, const UntrapHotSite& y) {
        return x.page_hash == y.page_hash && x.offset == y.offset && x.word == y.word && x.reserved == y.reserved;
    });
}

const std::vector<UntrapHotSite> some = {{1, 0x7C6000A6, 0, 0}, {1, 0x7C6000A6, 4, 0}, {~0ull, 5, 4092, 0}};

struct Lines {
    Lines() {
        before = set_report_sink([this](std::string_view line) { text.emplace_back(line); });
    }
    ~Lines() { set_report_sink(before); }
    ReportSink before;
    std::vector<std::string> text;
};

} // namespace

TEST_CASE("hot sites come back from the file's bytes, and no changed bit goes unnoticed") {
    const std::vector<std::uint8_t> bytes = encode_site_cache(some);
    std::vector<UntrapHotSite> read;
    REQUIRE(decode_site_cache(bytes, read).empty());
    CHECK(same(read, some));
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        std::vector<std::uint8_t> damaged = bytes;
        damaged[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
        CHECK_FALSE(decode_site_cache(damaged, read).empty());
        CHECK(read.empty());
    }
    for (std::size_t length = 0; length < bytes.size(); ++length)
        CHECK_FALSE(
            decode_site_cache({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)}, read).empty());
    // A checksum that is right makes wrong records no better.
    for (const auto& wrong : std::vector<std::vector<UntrapHotSite>>{
             {{1, 0, 2, 0}}, {{1, 0, 4096, 0}}, {{1, 0, 4, 0}, {1, 0, 4, 0}}, {{2, 0, 0, 0}, {1, 0, 0, 0}}})
        CHECK_FALSE(decode_site_cache(encode_site_cache(wrong), read).empty());
}

TEST_CASE("a run's hot sites replace those of the same pages and keep those of others") {
    const auto merged = merge_sites({{7, 1, 8, 0}, {5, 1, 4, 0}, {5, 1, 4, 0}}, {{5, 1, 0, 0}, {6, 1, 0, 0}});
    CHECK(same(merged, {{5, 1, 4, 0}, {6, 1, 0, 0}, {7, 1, 8, 0}}));
    std::vector<UntrapHotSite> many;
    for (std::uint32_t i = 0; i < untrap::abi::untrap_most_hot_sites; ++i) many.push_back({i + 100, 1, 0, 0});
    const auto full = merge_sites({{5, 1, 4, 0}}, many);
    CHECK(full.size() == untrap::abi::untrap_most_hot_sites);
    CHECK(full.front().page_hash == 5);
}

TEST_CASE("the file of hot sites: none, saved for the owner alone, read, damaged") {
    const Folder folder;
    const Lines lines;
    const std::string path = folder.path / "sites";
    {
        SiteCacheFile file(path);
        CHECK(file.sites().empty());
        file.save(some);
    }
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
    CHECK(same(SiteCacheFile(path).sites(), some));
    CHECK(lines.text.empty());
    std::ofstream(path, std::ios::app) << "x";
    {
        SiteCacheFile file(path);
        CHECK(file.sites().empty());
        REQUIRE(lines.text.size() == 1);
        file.save({some[0]});
    }
    CHECK(same(SiteCacheFile(path).sites(), {some[0]}));
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
    CHECK_THROWS_AS(SiteCacheFile(folder.path), Error);
    CHECK_THROWS_AS(SiteCacheFile(folder.path / "none" / "sites"), Error);
}
