// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// Guest programs of a few instructions (snippets.S). Each runs where it is loaded, at SNIPPET_BASE unless it says
// otherwise, by the reset mapping, with all interrupts off at first.

#define SNIPPET_BASE 0x1000

// What handlers of interrupts tell by DCR.
#define DCR_EXTERNAL 0x30
#define DCR_PROGRAM 0x31

#define SNIPPET(name) extern const char guest_##name[], guest_##name##_end[]
SNIPPET(sum);               // r3 + … + 1 to DONE
SNIPPET(load_word);         // loads from r3, to DONE
SNIPPET(store_word);        // stores r4 at r3
SNIPPET(print);             // the byte at r3 + 5 until it has 0x20, then the next of r5 bytes from r4 to r3; and so on
SNIPPET(load_sizes);        // byte, halfword, word, word reversed from r3, +2, +4, +4 to r5 … r8
SNIPPET(store_sizes);       // byte, halfword, word, word reversed of r4 to r3, +2, +4, +8
SNIPPET(walk);              // stores r3 at r3, r5 times, r4 on each time
SNIPPET(walk_loads);        // loads instead
SNIPPET(store_multiple);    // stmw of r29 … r31 to r3: three words
SNIPPET(clear_block);       // dcbz of r3
SNIPPET(spin);              // counts in r3 for ever
SNIPPET(spin_store);        // and stores the count at r4
SNIPPET(spin_unmasked);     // with MSR[EE]: each external interrupt writes DCR_EXTERNAL
SNIPPET(wait_unmasked);     // waits in MSR[WE,EE] for an external interrupt: DCR_EXTERNAL, then DONE
SNIPPET(wait_masked);       // waits in MSR[WE] with interrupts off
SNIPPET(dcr);               // mfdcr 0x20, mtdcr 0x21, its value + 1 to DONE
SNIPPET(reset);             // DBCR0[RST]
SNIPPET(decrementer);       // DEC = r3, waits in MSR[WE,EE]: TSR to DONE in the handler; then on
SNIPPET(fp);                // f3 = f1 + f2; the double at r3, squared, to r3 + 8
SNIPPET(fp_sum);            // f2 += the double at r3, r5 times; to r3 + 8
SNIPPET(all_registers);     // r5 times adds up r4, r6 … r31, CR, LR, XER, whose sum goes to DONE
SNIPPET(debug);             // see snippets.S for what is where
SNIPPET(program);           // IVOR6 leads to DCR_PROGRAM with SRR0, then SRR0 + 4; runs at r3
SNIPPET(patched);           // r5 times: SPRG0 to r6, r6 to SRR0, interrupts off; the sum of r6 to DONE
SNIPPET(special_registers); // SPRG0, CSRR0, IVPR, IVOR3, PID, SRR0, IAC1 to r10 … r16
#undef SNIPPET
