"""Letters and digits that look like those of ASCII.

Taken from Unicode's confusables.txt (UTS #39, https://www.unicode.org/Public/security/, as it was
in January 2024; (c) Unicode, Inc., SPDX Unicode-3.0): each letter or number whose look-alike,
without accents and in lower case, is written in ASCII letters and digits. Left out is what
decomposition, the values of digits and case folding reach without it.
"""

from __future__ import annotations

from string import ascii_lowercase

__all__ = ["LOOKALIKES"]

_CODES = {
    "1": "2780",
    "2": "01a7 01bb 03e8 14bf 2781 a644 a6ef a75a",
    "3": "01b7 021c 0417 0498 04e0 2782 2ccc a76a a7ab 118ca 16f3b",
    "4": "13ce 2783 118af",
    "5": "01bc 2784 118bb",
    "6": "0431 13ee 2785 2cd2 118d5",
    "7": "2786 104d2 118c6",
    "8": "0222 0223 2787 1031a 1e8cb",
    "9": "2788 2cca a76e 118ac 118cc 118d6",
    "a": "0251 0391 03b1 0410 0430 13aa 15c5 a4ee 102a0 16f40",
    "b": (
        "0180 0182 0183 0184 0253 0392 0411 0412 042c 0462 0463 048c 048d 13cf 13f4 1472 1473 "
        "15af 15f7 a4d0 a7b4 10282 102a1 10301"
    ),
    "c": (
        "023c 0421 0441 04aa 04ab 13df 1d04 2ca4 2ca5 a4da abaf 102a2 10302 10415 1043d 1051c 118f2"
    ),
    "d": "00d0 0110 0111 0189 018c 0256 0257 0501 13a0 13e7 146f 15de 15ea a4d2 a4d3",
    "e": "0246 0247 0395 0415 0435 04bd 04bf 13ac 2d39 a4f0 ab32 10286 118a6 118ae",
    "f": "0191 0192 03dc 0584 15b4 1d6e 1e9d a4dd a798 a799 ab35 10287 102a5 10525 118a2 118c2",
    "g": "018d 01e4 01e5 0260 0261 050c 0581 13c0 13f3 1d83 a4d6",
    "h": (
        "0126 0127 0266 0397 041d 045b 04a2 04bb 04c7 04c9 0570 13bb 13c2 13f2 157c 2c67 2c8e "
        "a4e7 a695 102cf"
    ),
    "i": "0131 0268 0269 026a 03b9 0456 04cf 13a5 1d7b 1d7c a647 ab75 118c3",
    "j": "0248 0249 037f 03f3 0408 0458 13ab 148d a4d9 a7b2",
    "k": "0199 039a 041a 049a 049e 13e6 16d5 2c69 2c94 a4d7 a740 10518",
    "l": (
        "0141 0142 0196 0197 019a 01c0 026b 026d 0399 0406 04c0 05d5 05df 0627 0673 07ca 13de "
        "14aa 16c1 18f3 2c92 2cd0 2d4f a4e1 a4f2 1028a 10309 10320 1041b 10526 118a3 118b2 "
        "16f16 16f28 1e8c7"
    ),
    "m": "039c 03fa 041c 04cd 13b7 15f0 16d6 2c98 a4df ab51 102b0 10311",
    "n": "019d 019e 0272 0273 039d 03b7 0578 057c 1d70 2c9a a4e0 10513",
    "o": (
        "00d8 00f8 019f 0275 0398 039f 03b8 03bf 03c3 041e 043e 0472 0473 04e8 04e9 0555 0585 "
        "05e1 0629 0647 06be 06c1 06d5 06ff 0b20 0d20 1010 101d 10ff 12d0 13be 13eb 1d0f 1d11 "
        "2c9e 2c9f 2d31 2d41 2d54 3007 a4f3 a74a a74b ab3d ab3e ab74 ab8e abbb 10292 102ab "
        "10404 1042c 104c2 104ea 10516 118b5 118c8 118d7"
    ),
    "p": "01a5 03a1 03c1 0420 0440 13e2 146d 18d6 1d7d 2ca2 2ca3 a4d1 10295",
    "q": "02a0 051b 0563 0566 2d55",
    "r": (
        "01a6 024d 027c 027d 0433 0493 13a1 13d2 1587 18f4 1d26 1d72 2c85 a4e3 ab47 ab48 ab81 "
        "104b4 16f35"
    ),
    "s": (
        "01bd 0282 0405 0455 054f 13d5 13da 18f5 1d74 a4e2 a731 abaa 10296 10420 10448 118c1 16f3a"
    ),
    "t": (
        "0166 0167 01ab 01ad 01ae 023e 03a4 0422 04ac 13a2 1d75 2ca6 a4d4 10297 102b1 10315 "
        "118bc 16f0a"
    ),
    "u": (
        "0244 028b 03c5 054d 057d 1200 13cc 144c 1d1c 1d7e a4f4 a79f ab4e ab52 ab9c 104ce "
        "104f6 118b8 118d8 16f42"
    ),
    "v": "03bd 0474 0475 05d8 13d9 142f 1d20 2d38 a4e6 a6df aba9 1051d 11706 118a0 118c0 16f08",
    "w": (
        "026f 0461 047d 051c 051d 0561 13b3 13d4 1d21 a4ea a761 ab83 114c5 1170a 1170e 1170f 118ef"
    ),
    "x": (
        "03a7 0425 0445 04b2 1541 157d 16b7 2cac 2d5d a4eb a7b3 10290 102b4 10317 10322 10527 118ec"
    ),
    "y": (
        "01b4 024e 024f 0263 028f 03a5 03b3 0423 0443 04ae 04af 04b0 04b1 10e7 13a9 13bd 1d8c "
        "1eff 2ca8 a4ec ab5a 102b2 118a4 118dc 16f43"
    ),
    "z": "01b5 01b6 0224 0225 0290 0396 13c3 1646 1d22 1d76 a4dc ab93 102f5 118a9 118c4",
    "10": "2789",
    "aa": "a732 a733",
    "ae": "00c6 00e6 04d4 04d5",
    "ao": "a734 a735",
    "au": "a736 a737",
    "av": "a738 a739 a73a a73b",
    "ay": "a73c a73d",
    "bl": "042b",
    "dz": "02a3",
    "ll": "01c1 05f0",
    "lo": "042e",
    "ls": "02aa",
    "lz": "02ab",
    "oe": "0152 0153",
    "oo": "a698 a699 a74e a74f",
    "rn": "0271 1d6f 11700",
    "ss": "03b2 13f0 a7b5",
    "t3": "a728",
    "tf": "a777",
    "ts": "02a6",
    "ue": "1d6b",
    "uo": "ab63",
}

_NEGATIVE_CIRCLED, _NEGATIVE_SQUARED, _OF_FLAGS = 0x1F150, 0x1F170, 0x1F1E6
"""Letters drawn as symbols: where their alphabets begin. confusables.txt has none of them."""

LOOKALIKES: dict[str, str] = {
    chr(int(code, 16)): letters for letters, codes in _CODES.items() for code in codes.split()
} | {
    chr(first + index): letter
    for first in (_NEGATIVE_CIRCLED, _NEGATIVE_SQUARED, _OF_FLAGS)
    for index, letter in enumerate(ascii_lowercase)
}
"""The ASCII letters, in lower case, that a character looks like."""
