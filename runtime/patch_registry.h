// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "runtime/code_pages.h"
#include "runtime/engine.h"
#include "runtime/hot_site.h"
#include "translator/isa/msr.h"
#include "translator/isa/table.h"
#include "translator/plan/plan.h"

namespace untrap::runtime {

// Which privileged sites of a guest are patched, and how often the others trapped. Sites are known by guest real
// address and instruction word, so rewritten code never meets the patch of what stood there before (a sequence needs no
// more than its first word: its exit goes on with whatever instructions the guest then has). Fixed size, no heap: when
// a neighbourhood is full, its coldest site is forgotten.
class PatchRegistry {
  public:
    static constexpr unsigned capacity = 16384;     // sites watched; a power of two
    static constexpr unsigned default_changes = 8;  // of patched words in a page until it is left alone
    static constexpr unsigned sites_in_page = 1024; // words, so sites, of a page at most

    // levels: bit n set = level n (1-4) allowed; 0 = trap mode. threshold: traps before a site is patched (>= 1).
    void configure(unsigned levels, unsigned threshold);
    // most_patched: sites patched at a time; changes: see default_changes. 0: as it is without this call.
    void limit(std::uint32_t most_patched, unsigned changes);
    unsigned levels() const { return levels_; }
    unsigned threshold() const { return threshold_; }

    // A privileged instruction in guest-supervisor state trapped at real. Returns the patch that now applies there,
    // if the trap made it hot or it already was; nullptr if it stays a plain trap. newly_patched: the site no longer
    // traps (levels 1 and 2), which the engine must hear of. window holds the instruction words from the site on, for
    // sequences.
    const plan::Patch* note_trap(std::uint64_t real, const std::uint32_t* window, unsigned window_length,
                                 bool& newly_patched);
    // The same, for a site that stays cold: false, with nothing done, if it does not or there is more to do.
    bool note_cold_trap(std::uint64_t real, std::uint32_t word);
    // The patch at real, or nullptr. The engine asks when it translates a privileged instruction; a site whose word
    // is no longer the one it was planned for is not patched.
    const plan::Patch* find(std::uint64_t real, std::uint32_t word) const;
    // Whether another trap at this site would change nothing here and is one exit by itself.
    bool settled(std::uint64_t real, std::uint32_t word) const;
    // Whether the site there is hot and the levels in use have no patch for it.
    bool refused(std::uint64_t real, std::uint32_t word) const;
    // Level 4: the handler of a TLB miss (which) at ea is about to run. Whether it has run often enough to be run
    // within the exit of the miss; never if the level is not allowed.
    bool handler_is_hot(isa::Interrupt which, std::uint32_t ea) {
        if ((levels_ >> handler_level & 1) == 0) return false;
        Handler& handler = handlers_[which == isa::Interrupt::data_tlb_error ? 0 : 1];
        return (handler.ea == ea && handler.runs >= threshold_) || note_handler(handler, ea);
    }
    bool handlers_allowed() const { return (levels_ >> handler_level & 1) != 0; }
    // Whether the handler of this kind of miss is run that way now.
    bool handler_patched(isa::Interrupt which) const {
        return (levels_ >> handler_level & 1) != 0 &&
               handlers_[which == isa::Interrupt::data_tlb_error ? 0 : 1].runs >= threshold_;
    }
    // The host has no way to patch the site: it stays a trap.
    void refuse(std::uint64_t real, std::uint32_t word);
    // The patch went because its code was changed or read: the site's traps count anew, up to a higher threshold each
    // time.
    void back_out(std::uint64_t real, std::uint32_t word);
    void clear();

    std::uint32_t patched_sites() const { return patched_; }
    std::uint32_t most_patched() const { return most_patched_; }

    // -- code that changes

    // [real, real + length), in one page, was written or is looked at anew; bytes: what stands there now. Patched sites
    // whose word is another one are forgotten. A page where that keeps happening is left alone: all its patches go, and
    // none is made again. engine hears of every site that is patched no more.
    void code_changed(std::uint64_t real, const std::uint8_t* bytes, std::uint32_t length, Engine& engine);
    bool left_alone(std::uint64_t real) const;
    std::uint32_t pages_left_alone() const { return left_alone_; }

    // -- sites known from earlier runs

    // Sorted by HotSite::before, at most HotSite::most; the caller's, and stays. Any content is safe: a site is patched
    // only if page and word are those of the guest, and as note_trap would patch it.
    void set_known(const HotSite* sites, std::uint32_t count);
    // Whether it is time to compare the page of real with the known sites: when the 1st, 2nd, 4th, 8th … question is
    // asked since it changed, until it was found, for not every host sees every write.
    bool match_due(std::uint64_t real);
    // The known sites of pages with this content.
    const HotSite* known(std::uint64_t page_hash, std::uint32_t& count) const;
    // As note_trap, for a site that is hot without having trapped; page_matched: the last one of its page.
    const plan::Patch* patch_known(std::uint64_t real, const std::uint32_t* window, unsigned window_length,
                                   bool& newly_patched);
    void page_matched(std::uint64_t real);
    std::uint32_t patched_by_knowledge() const { return by_knowledge_; }

    // -- reading

    // Real address of page `index`, below CodePages::capacity, if sites in it are patched.
    bool patched_page(unsigned index, std::uint64_t& real) const;

  private:
    static constexpr unsigned probe_length = 8;
    static constexpr unsigned handler_level = 4;

    // A TLB-miss handler, known by its effective address: kernels have one of each kind.
    struct Handler {
        std::uint32_t ea = 0, runs = 0;
    };
    bool note_handler(Handler& handler, std::uint32_t ea);

    struct Site {
        std::uint64_t real = ~std::uint64_t{0};
        std::uint32_t word = 0;
        std::uint32_t traps = 0;
        std::uint32_t backed_out = 0; // how often
        plan::Patch patch;
    };
    std::uint32_t threshold_of(const Site& site) const {
        constexpr std::uint32_t most = 12;
        const std::uint64_t raised = std::uint64_t{threshold_} << (site.backed_out < most ? site.backed_out : most);
        return raised < 0xFFFFFFFF ? static_cast<std::uint32_t>(raised) : 0xFFFFFFFF;
    }
    void unpatch(Site& site, std::uint32_t traps, std::uint32_t backed_out);
    Site& slot(std::uint64_t real, unsigned attempt);
    Site* lookup(std::uint64_t real);
    const Site* lookup(std::uint64_t real) const { return const_cast<PatchRegistry*>(this)->lookup(real); }
    Site& claim(std::uint64_t real, std::uint32_t word);
    void forget(Site& site);
    void word_changed(Site& site);
    const plan::Patch* make(Site& site, const std::uint32_t* window, unsigned window_length, bool& newly_patched);

    unsigned levels_ = 0;
    unsigned threshold_ = 4;
    unsigned changes_ = default_changes;
    std::uint32_t most_patched_ = capacity;
    std::uint32_t patched_ = 0, left_alone_ = 0, by_knowledge_ = 0;
    Handler handlers_[2];
    const HotSite* known_ = nullptr;
    std::uint32_t known_count_ = 0;
    CodePages pages_;
    Site sites_[capacity];
};

} // namespace untrap::runtime
