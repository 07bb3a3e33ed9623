// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/report/flame_graph.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <iterator>
#include <map>
#include <string_view>

#include "vmm/report/comparison_rows.h"
#include "vmm/report/markup.h"

namespace untrap::vmm {
namespace {

constexpr double width = 1200;
constexpr double row_height = 19;
constexpr double heading_height = 26;
constexpr double panel_gap = 18;
constexpr double character_width = 6.4; // of an 11 px sans-serif, on average
constexpr double least_width = 0.35;    // narrower boxes are left out
constexpr int depth = 4;                // all, reason, function, site

struct Node {
    std::uint64_t exits = 0;
    std::string detail; // of a site: the instruction and why
    std::map<std::string, Node> children;
};

// Largest first, then by name, so that two runs draw the same picture.
std::vector<const std::map<std::string, Node>::value_type*> by_size(const Node& node) {
    std::vector<const std::map<std::string, Node>::value_type*> sorted;
    for (const auto& child : node.children) sorted.push_back(&child);
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const auto* a, const auto* b) { return a->second.exits > b->second.exits; });
    return sorted;
}

Node tree(const Profile& profile, SiteCost ProfileSite::*mode) {
    Node root;
    for (const ProfileSite& site : profile.sites) {
        const std::uint64_t exits = (site.*mode).exits;
        if (exits == 0) continue;
        Node& reason = root.children[runtime::exit_reason_names[static_cast<std::size_t>(site.reason)]];
        Node& function = reason.children[site.function()];
        Node& leaf = function.children[fmt::format("{}: {}", site.place(), site.instruction)];
        for (Node* const node : {&root, &reason, &function, &leaf}) node->exits += exits;
        leaf.detail = site.why;
    }
    return root;
}

// Kinds of reasons have colours of their own: emulation warm, refills green, devices blue, the guest's events violet.
std::string colour(std::string_view reason, int level) {
    unsigned hash = 0;
    for (const char c : reason) hash = hash * 31 + static_cast<unsigned char>(c);
    unsigned hue = 265 + hash % 45;
    if (reason.starts_with("EMUL_")) hue = 8 + hash % 40;
    if (reason.ends_with("_VIRT")) hue = 130 + hash % 40;
    if (reason == "MMIO" || reason == "DCR") hue = 205 + hash % 15;
    return fmt::format("hsl({},{}%,{}%)", hue, 70 - 8 * level, 62 + 4 * level);
}

class Panel {
  public:
    Panel(std::string& out, double top, std::uint64_t all) : out_(out), top_(top), all_(all) {}

    void draw(const Node& root, std::string_view name) {
        box(0, 0, width, name, root, "hsl(215,12%,72%)");
        double x = 0;
        for (const auto* reason : by_size(root)) {
            children(reason->first, reason->second, 1, x, reason->first);
            x += scaled(reason->second.exits);
        }
    }

  private:
    double scaled(std::uint64_t exits) const {
        return width * static_cast<double>(exits) / static_cast<double>(std::max<std::uint64_t>(all_, 1));
    }

    void children(const std::string& name, const Node& node, int level, double x, std::string_view reason) {
        const double own = scaled(node.exits);
        if (own < least_width) return;
        box(level, x, own, name, node, colour(reason, level));
        for (const auto* child : by_size(node)) {
            children(child->first, child->second, level + 1, x, reason);
            x += scaled(child->second.exits);
        }
    }

    void box(int level, double x, double own, std::string_view name, const Node& node, std::string_view fill) {
        const double y = top_ + level * row_height;
        const double share =
            100.0 * static_cast<double>(node.exits) / static_cast<double>(std::max<std::uint64_t>(all_, 1));
        fmt::format_to(std::back_inserter(out_),
                       "<g><title>{}: {} exits, {:.2f} %{}{}</title><rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" "
                       "height=\"{:.1f}\" fill=\"{}\"/>",
                       escaped(name), grouped(node.exits), share, node.detail.empty() ? "" : "; ", escaped(node.detail),
                       x, y, std::max(own - 0.4, 0.2), row_height - 1, fill);
        const auto room = static_cast<std::size_t>(std::max(0.0, (own - 8) / character_width));
        if (room >= 4) {
            std::string label(name.substr(0, room));
            if (label.size() < name.size()) label.replace(label.size() - 1, 1, "…");
            fmt::format_to(std::back_inserter(out_), "<text x=\"{:.2f}\" y=\"{:.1f}\">{}</text>", x + 4, y + 13,
                           escaped(label));
        }
        out_ += "</g>\n";
    }

    std::string& out_;
    double top_;
    std::uint64_t all_;
};

} // namespace

std::string flame_graph(const Profile& profile) {
    constexpr double panel_height = heading_height + depth * row_height;
    std::string svg = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"flame\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
        "height=\"{1:.0f}\" role=\"img\" aria-label=\"exits by reason, function and site\">\n"
        "<!-- SPDX-License-Identifier: GPL-2.0-only -->\n"
        "<style>.flame{{background:#fff;font:11px system-ui,sans-serif;max-width:100%;height:auto}}"
        ".flame text{{fill:#1b1b1f;pointer-events:none}}.flame .head{{font-size:14px;font-weight:600;fill:#222}}"
        ".flame g:hover rect{{stroke:#000;stroke-width:1}}"
        "@media(prefers-color-scheme:dark){{.flame{{background:#17181c}}.flame .head{{fill:#e6e6ea}}"
        ".flame g:hover rect{{stroke:#fff}}}}</style>\n",
        width, 2 * panel_height + panel_gap);
    const std::array<std::pair<const char*, SiteCost ProfileSite::*>, 2> modes = {
        {{"trap mode", &ProfileSite::trap}, {"patch mode", &ProfileSite::patch}}};
    double top = 0;
    for (const auto& [name, mode] : modes) {
        const Node root = tree(profile, mode);
        fmt::format_to(std::back_inserter(svg), "<text class=\"head\" x=\"2\" y=\"{:.1f}\">{}: {} exits</text>\n",
                       top + 17, name, grouped(root.exits));
        Panel(svg, top + heading_height, root.exits).draw(root, "all exits");
        top += panel_height + panel_gap;
    }
    svg += "</svg>\n";
    return svg;
}

} // namespace untrap::vmm
