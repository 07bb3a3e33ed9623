// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/patch_registry.h"

#include "runtime/byte_order.h"

namespace untrap::runtime {

namespace {

constexpr std::uint64_t page_of(std::uint64_t real) { return real >> CodePages::shift << CodePages::shift; }

} // namespace

void PatchRegistry::configure(unsigned levels, unsigned threshold) {
    levels_ = levels;
    threshold_ = threshold == 0 ? 1 : threshold;
    clear();
}

void PatchRegistry::limit(std::uint32_t most_patched, unsigned changes) {
    most_patched_ = most_patched == 0 || most_patched > capacity ? capacity : most_patched;
    changes_ = changes == 0 ? default_changes : changes;
}

void PatchRegistry::clear() {
    for (Site& site : sites_) site = Site{};
    for (Handler& handler : handlers_) handler = Handler{};
    pages_.clear();
    patched_ = left_alone_ = by_knowledge_ = 0;
}

// -- sites -------------------------------------------------------------------------------------------------------

PatchRegistry::Site& PatchRegistry::slot(std::uint64_t real, unsigned attempt) {
    // Neighbouring sites are four bytes apart; a multiplicative hash spreads them over the table.
    const auto key = static_cast<std::uint32_t>(real >> 2) * 0x9E3779B1U;
    return sites_[((key >> 16) + attempt) & (capacity - 1)];
}

PatchRegistry::Site* PatchRegistry::lookup(std::uint64_t real) {
    for (unsigned attempt = 0; attempt < probe_length; ++attempt)
        if (Site& site = slot(real, attempt); site.real == real) return &site;
    return nullptr;
}

PatchRegistry::Site& PatchRegistry::claim(std::uint64_t real, std::uint32_t word) {
    Site* coldest = nullptr;
    for (unsigned attempt = 0; attempt < probe_length; ++attempt) {
        Site& site = slot(real, attempt);
        if (site.real == real) {
            if (site.word == word) return site;
            if (site.patch.level != 0) word_changed(site);
            coldest = &site; // other code stands there now
            break;
        }
        const bool keep = site.patch.level != 0;
        if (coldest == nullptr || (coldest->patch.level != 0 && !keep) ||
            ((coldest->patch.level != 0) == keep && site.traps < coldest->traps))
            coldest = &site;
    }
    forget(*coldest);
    coldest->real = real;
    coldest->word = word;
    return *coldest;
}

void PatchRegistry::forget(Site& site) {
    if (site.patch.level != 0) {
        --patched_;
        --pages_.find(site.real)->patched; // has a record while it has patches
    }
    site = Site{};
}

const plan::Patch* PatchRegistry::make(Site& site, const std::uint32_t* window, unsigned window_length,
                                       bool& newly_patched) {
    site.traps = threshold_of(site);
    if (patched_ >= most_patched_) return nullptr;
    CodePage* page = pages_.claim(site.real);
    if (page == nullptr || page->left_alone) return nullptr;
    site.patch = plan::make_patch(window, window_length, levels_);
    if (site.patch.level == 0) return nullptr;
    ++patched_;
    ++page->patched;
    newly_patched = site.patch.level <= 2;
    return &site.patch;
}

const plan::Patch* PatchRegistry::note_trap(std::uint64_t real, const std::uint32_t* window, unsigned window_length,
                                            bool& newly_patched) {
    newly_patched = false;
    if (levels_ == 0 || window_length == 0) return nullptr;
    Site& site = claim(real, window[0]);
    if (site.patch.level != 0) return &site.patch;
    const std::uint32_t threshold = threshold_of(site);
    if (site.traps >= threshold) return nullptr; // planned, and nothing can be done about it
    if (++site.traps < threshold) return nullptr;
    return make(site, window, window_length, newly_patched);
}

bool PatchRegistry::note_handler(Handler& handler, std::uint32_t ea) {
    if (handler.ea != ea) {
        if (handler.runs >= threshold_) --patched_;
        handler = {ea, 0};
    }
    if (++handler.runs < threshold_) return false;
    ++patched_;
    return true;
}

const plan::Patch* PatchRegistry::find(std::uint64_t real, std::uint32_t word) const {
    if (levels_ == 0) return nullptr;
    const Site* site = lookup(real);
    return site != nullptr && site->word == word && site->patch.level != 0 ? &site->patch : nullptr;
}

// Its patch goes, and its traps count as `traps`.
void PatchRegistry::unpatch(Site& site, std::uint32_t traps, std::uint32_t backed_out) {
    const Site before = site;
    forget(site);
    site.real = before.real;
    site.word = before.word;
    site.traps = traps;
    site.backed_out = backed_out;
}

bool PatchRegistry::note_cold_trap(std::uint64_t real, std::uint32_t word) {
    Site* site = lookup(real);
    // Where sites are known from earlier runs, the first trap is a time to look at the page.
    if (site == nullptr && known_count_ == 0 && levels_ != 0) site = &claim(real, word);
    if (site == nullptr || site->word != word || site->patch.level != 0) return false;
    const std::uint32_t threshold = threshold_of(*site);
    if (threshold == 0 || site->traps >= threshold - 1) return false;
    ++site->traps;
    return true;
}

void PatchRegistry::refuse(std::uint64_t real, std::uint32_t word) {
    Site* const site = lookup(real);
    if (site != nullptr && site->word == word) unpatch(*site, 0xFFFFFFFF, site->backed_out);
}

void PatchRegistry::back_out(std::uint64_t real, std::uint32_t word) {
    Site* const site = lookup(real);
    if (site != nullptr && site->word == word && site->patch.level != 0) unpatch(*site, 0, site->backed_out + 1);
}

bool PatchRegistry::settled(std::uint64_t real, std::uint32_t word) const {
    if (levels_ == 0) return true;
    const Site* site = lookup(real);
    if (site == nullptr || site->word != word) return false;
    return site->patch.level == 0 ? site->traps >= threshold_of(*site) : site->patch.level <= 2;
}

bool PatchRegistry::refused(std::uint64_t real, std::uint32_t word) const {
    if (levels_ == 0) return false;
    const Site* site = lookup(real);
    return site != nullptr && site->word == word && site->patch.level == 0 && site->traps >= threshold_of(*site);
}

// -- code that changes -------------------------------------------------------------------------------------------

void PatchRegistry::word_changed(Site& site) {
    CodePage& page = *pages_.find(site.real);
    forget(site);
    if (++page.changes < changes_ || page.left_alone) return;
    page.left_alone = true;
    ++left_alone_;
}

void PatchRegistry::code_changed(std::uint64_t real, const std::uint8_t* bytes, std::uint32_t length, Engine& engine) {
    if (levels_ == 0 || length == 0) return;
    CodePage* page = pages_.find(real);
    if (page == nullptr) return;
    if (page->matched) {
        page->matched = false;
        page->asked = 0;
    }
    if (page->patched == 0) return;
    const std::uint64_t base = page_of(real), end = real + length;
    // Words that are written in part count whole; their other bytes lie before or behind those given.
    for (std::uint64_t at = real & ~std::uint64_t{3}; at < end; at += 4) {
        Site* site = lookup(at);
        if (site == nullptr || site->patch.level == 0) continue;
        const auto offset = static_cast<std::int64_t>(at - real);
        if (site->word == static_cast<std::uint32_t>(load_big_endian(bytes + offset, 4))) continue;
        word_changed(*site);
        engine.site_changed(at);
    }
    if (!page->left_alone) return;
    for (std::uint64_t at = base; at < base + 4 * sites_in_page && page->patched != 0; at += 4) {
        Site* site = lookup(at);
        if (site == nullptr || site->patch.level == 0) continue;
        forget(*site);
        engine.site_changed(at);
    }
}

bool PatchRegistry::left_alone(std::uint64_t real) const {
    const CodePage* page = const_cast<PatchRegistry*>(this)->pages_.find(real);
    return page != nullptr && page->left_alone;
}

// -- sites known from earlier runs -------------------------------------------------------------------------------

void PatchRegistry::set_known(const HotSite* sites, std::uint32_t count) {
    known_ = sites;
    known_count_ = count;
}

bool PatchRegistry::match_due(std::uint64_t real) {
    if (known_count_ == 0 || levels_ == 0) return false;
    CodePage* page = pages_.claim(real);
    if (page == nullptr || page->matched || page->left_alone || page->asked == 0x8000) return false;
    ++page->asked;
    return (page->asked & (page->asked - 1)) == 0;
}

const HotSite* PatchRegistry::known(std::uint64_t page_hash, std::uint32_t& count) const {
    std::uint32_t first = 0, last = known_count_;
    while (first < last) {
        const std::uint32_t middle = first + (last - first) / 2;
        if (known_[middle].page_hash < page_hash)
            first = middle + 1;
        else
            last = middle;
    }
    for (count = 0; first + count < known_count_ && known_[first + count].page_hash == page_hash;) ++count;
    return known_ + first;
}

const plan::Patch* PatchRegistry::patch_known(std::uint64_t real, const std::uint32_t* window, unsigned window_length,
                                              bool& newly_patched) {
    newly_patched = false;
    if (levels_ == 0 || window_length == 0) return nullptr;
    Site& site = claim(real, window[0]);
    if (site.patch.level != 0) return &site.patch;
    const plan::Patch* patch = make(site, window, window_length, newly_patched);
    if (patch != nullptr) ++by_knowledge_;
    return patch;
}

void PatchRegistry::page_matched(std::uint64_t real) {
    if (CodePage* page = pages_.find(real)) page->matched = true;
}

// -- reading -----------------------------------------------------------------------------------------------------

bool PatchRegistry::patched_page(unsigned index, std::uint64_t& real) const {
    const CodePage& page = pages_.at(index);
    real = page.number << CodePages::shift;
    return page.patched != 0;
}

} // namespace untrap::runtime
