// SPDX-License-Identifier: GPL-2.0-only
// Code whose accesses are mapped, in images of translations.
#include <algorithm>
#include <cstring>
#include <functional>

#include "mapped_guest.h"
#include "runtime/soft/code_image.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using isa::TrapKind;
namespace code_image = runtime::soft::code_image;
constexpr std::uint64_t image_key = 440;

constexpr std::size_t cache_bytes = runtime::soft::JitEngine::default_cache_bytes;

constexpr unsigned pages = MappedGuest::sum_pages;

std::vector<std::uint8_t> image_of(Machine& machine) {
    const runtime::soft::CodeCache& translations = machine.jit_engine().translations();
    std::vector<std::uint8_t> image(translations.packed_bytes());
    translations.pack(image.data(), image_key);
    return image;
}

MappedGuest guest_with(const std::vector<std::uint8_t>& image) {
    return MappedGuest(cache_bytes, translating_at_once,
                       [&](Machine& machine) { REQUIRE(machine.jit_engine().take_translations(image)); });
}

// Four views of those pages: more faults for loads and stores than are to be had. Each time no page is known.
void sum_more_pages(MappedGuest& guest) {
    for (int times = 0; times < 3; ++times) {
        for (std::uint8_t view = 0; view < 4; ++view) {
            guest.set_entry(1U + view, {});
            guest.map(1U + view, MappedGuest::data_base + view * pages * MappedGuest::page_bytes, MappedGuest::frame(0),
                      MappedGuest::rw, MappedGuest::size_64k);
        }
        CHECK(guest.run({{3, 4 * pages}, {4, MappedGuest::data_base}, {7, 0}}, "sum").kind == TrapKind::system_call);
    }
}

} // namespace

TEST_CASE("mapped code is used again from an image of translations", "[mapped][image]") {
    std::vector<std::uint8_t> image;
    {
        MappedGuest guest;
        guest.put_sum();
        for (int times = 0; times < 2; ++times) CHECK(guest.sum() == TrapKind::system_call);
        image = image_of(guest.pair.jit);
    }
    MappedGuest guest = guest_with(image);
    guest.put_sum();
    CHECK(guest.sum() == TrapKind::system_call);
    const std::uint64_t first = guest.faults();
    CHECK(first >= pages);
    CHECK(guest.sum() == TrapKind::system_call);
    CHECK(guest.faults() == first);
    CHECK(guest.pair.jit.jit_engine().translated_blocks() == 0);
    // It is known what it was made from, so that it can be mapped no more.
    for (int times = 0; times < 4; ++times) sum_more_pages(guest);
    CHECK(guest.faults() >= mmu::GuestTlb::entry_count);
    CHECK(guest.faults() <= mmu::GuestTlb::entry_count + 8);
}

TEST_CASE("an image of translations tells what is mapped no more", "[mapped][image]") {
    std::vector<std::uint8_t> image;
    {
        MappedGuest guest;
        guest.put_sum();
        sum_more_pages(guest);
        CHECK(guest.faults() > mmu::GuestTlb::entry_count);
        image = image_of(guest.pair.jit);
    }
    MappedGuest guest = guest_with(image);
    guest.put_sum();
    sum_more_pages(guest);
    CHECK(guest.faults() == 0);
}

TEST_CASE("an image with records of accesses that cannot be is refused as a whole", "[mapped][image]") {
    std::vector<std::uint8_t> image;
    {
        MappedGuest guest;
        guest.put_sum();
        CHECK(guest.sum() == TrapKind::system_call);
        image = image_of(guest.pair.jit);
    }
    code_image::Header header;
    std::memcpy(&header, image.data(), sizeof(header));
    REQUIRE(header.sites >= 4);
    const std::size_t sites = sizeof(header) + header.blocks * sizeof(code_image::BlockRecord) +
                              header.links * sizeof(code_image::LinkRecord) +
                              header.choices * sizeof(code_image::ChoicesRecord);
    const auto code_begin = static_cast<std::uint32_t>(header.code_begin);
    const auto code_end = static_cast<std::uint32_t>(header.code_begin + header.code_bytes);
    using Site = code_image::SiteRecord;
    const auto at = [&](std::uint32_t number) { return sites + number * sizeof(Site); };
    Machine untouched(Machine::Kind::jit);
    const auto refused = [&](std::uint32_t number, const std::function<void(Site&)>& damage) {
        std::vector<std::uint8_t> wrong = image;
        Site site;
        std::memcpy(&site, &wrong[at(number)], sizeof(site));
        damage(site);
        std::memcpy(&wrong[at(number)], &site, sizeof(site));
        Machine machine(Machine::Kind::jit);
        const bool taken = machine.jit_engine().take_translations(wrong);
        return !taken && image_of(machine) == image_of(untouched) && machine.jit_engine().take_translations(image);
    };
    const std::uint32_t last = header.sites - 1;
    Site second;
    std::memcpy(&second, &image[at(1)], sizeof(second));
    CHECK(refused(0, [&](Site& site) { site.first = code_begin - 1; }));
    CHECK(refused(0, [](Site& site) { site.last = site.first; }));
    CHECK(refused(0, [](Site& site) { site.last = site.first - 1; }));
    CHECK(refused(0, [&](Site& site) { site.last = second.first + 1; })); // into the next one
    CHECK(refused(0, [&](Site& site) { site = second; }));
    CHECK(refused(last, [&](Site& site) { site.first = second.first - 1; }));
    CHECK(refused(last, [&](Site& site) { site.last = code_end + 1; }));
    CHECK(refused(1, [&](Site& site) { site.slow = code_end; }));
    CHECK(refused(1, [&](Site& site) { site.slow = code_begin - 1; }));
    CHECK(refused(1, [&](Site& site) { site.block = header.blocks; }));
    CHECK(refused(1, [](Site& site) { site.block = ~std::uint32_t{0}; }));
    CHECK_FALSE(refused(0, [](Site&) {})); // the image itself is good
    // Two of them exchanged; one more or less than the header says.
    std::vector<std::uint8_t> wrong = image;
    std::swap_ranges(wrong.begin() + static_cast<std::ptrdiff_t>(at(0)),
                     wrong.begin() + static_cast<std::ptrdiff_t>(at(1)),
                     wrong.begin() + static_cast<std::ptrdiff_t>(at(2)));
    Machine machine(Machine::Kind::jit);
    CHECK_FALSE(machine.jit_engine().take_translations(wrong));
    for (const std::uint32_t more : {1U, ~0U}) {
        wrong = image;
        code_image::Header other = header;
        other.sites += more;
        std::memcpy(wrong.data(), &other, sizeof(other));
        CHECK_FALSE(machine.jit_engine().take_translations(wrong));
    }
    CHECK(image_of(machine) == image_of(untouched));
    CHECK(machine.jit_engine().take_translations(image));
}
