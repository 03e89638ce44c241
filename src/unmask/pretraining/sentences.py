r"""Where sentences end, in English and Korean, by rule.

A sentence ends at a mark such as `.` `!` `?` `…`, with the quotes and brackets that close behind it, before white space.
What needs telling apart is where such a mark ends nothing. In English: titles ("Mr. Darcy"), initials, abbreviations and
list numbers, and whatever a small letter follows. In Korean: dates ("2020. 1. 3."), list letters ("가. 의원"), dots of
hesitation, and quotations that a particle takes up (`"간다." 라고`); and there a verb's ending may do without any mark, as
reviewers write ("재밌어요 또 볼게요", "좋다ㅋㅋ 최고").

Each mark is looked at once, so the time is that of a scan; on text of the web about one boundary in ten stays a matter
of taste. Nothing of the text is lost but the white space between sentences.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, get_args

from unmask.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Language", "split_sentences"]

Language = Literal["en", "ko", "none"]

_CLOSERS = r"[\"'”’»›)\]}*_」』》〉]"
_OPENERS = r"[\"'“‘«‹(\[{*_¿¡「『《〈<–—-]"
_CAPITAL = "A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĖĘĚĞĢĪĮİĶĹĻĽŁŃŅŇŌŐŒŔŘŚŞŠŢŤŪŮŰŲŹŻŽΑ-ΫА-Я"

_ENGLISH_END = re.compile(rf"([.!?…]+)({_CLOSERS}*)\s+(?=({_OPENERS}*)\s?([{_CAPITAL}0-9]))")
_LAST_WORD = re.compile(r"[^\s\"'“‘”’(\[—–]*$")
_NEXT_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_NUMERAL = re.compile(r"[(\[\"“'‘]*(?:\d{1,3}|[IVXLCDM]{1,7}|[A-Za-z])")

# No sentence ends behind these: a name or number follows.
_TITLES = frozenset(
    """mr mrs ms messrs mme mlle mm dr prof rev revd hon gen lieut lt col maj capt cap sgt cpl pvt cmdr cdr adm gov sen
    rep pres supt insp det esqr fr st ste mt ft vs viz cf eg ie e.g i.e""".split()
)
# Nor behind these, where a figure follows.
_BEFORE_FIGURES = frozenset("no nos vol vols p pp fig figs ch chap sec sect art eq ref ver c ca approx op nr".split())
# Behind these one ends only if the next word is one that begins sentences.
_AMBIGUOUS = frozenset(
    """jr sr inc ltd co corp bros etc al ave blvd rd dept univ assn jan feb mar apr jun jul aug sept sep oct nov dec mon
    tue wed thu fri sat sun a.m p.m u.s u.k u.n ph.d b.c a.d d.c no vol fig ed eds trans esq op lib bk""".split()
)
_STARTERS = frozenset(
    """a an the this that these those there here it its he his him she her they their we our you your i in on at by for
    from with without to as if when while where since after before although though because until during but and or so
    yet nor however then thus therefore meanwhile moreover once now both each every all some many most more no not one
    another such other others what who why how which do does did is are was were has have had will would can could
    should may might must please let""".split()
)
_SPEECH = re.compile(
    rf"(?:(?:Mr|Mrs|Miss|Ms|Dr|Sir|Lady|Lord|Madame|Monsieur|Captain|Colonel|Prince|Princess|Count|Uncle|Aunt|The|My)\.? )?"
    rf"(?:[{_CAPITAL}][\w’'-]*|old|little|young) (?:[{_CAPITAL}][\w’'-]* )?"
    r"(?:said|says|cried|asked|replied|answered|exclaimed|returned|whispered|shouted|repeated|thought|inquired|enquired|"
    r"observed|remarked|continued|added|demanded|murmured|muttered)\b"
)

_KOREAN_END = re.compile(
    rf"(?:([.!?…。！？]+)({_CLOSERS}*)|(?<=[다요죠까])([~^ㅋㅎㅠㅜ♥♡;]*)|(?<=\w)([~^ㅋㅎㅠㅜ♥♡]{{2,}}))[~^ㅋㅎㅠㅜ♥♡;]*\s+(?=\S)"
)
