"""A small English acceptability set of our own: which sentences are English, and which only look like it?

Written from minimal pairs, one acceptable sentence and one not, that differ in a single choice:

| phenomenon | rule | pair |
| --- | --- | --- |
| agreement | the verb agrees with the head of its subject, not a nearer noun | The keys by the door are / *is old. |
| reflexives | a reflexive agrees with the subject of its own clause | Mary praised herself / *himself. |
| argument_structure | a verb needs an object, or takes none | The nurse repaired / *arrived the lamp. |
| word_order | determiner, adjective, noun; verb, object; auxiliary, verb | the old lamp / *the lamp old |
| questions | a main question inverts, an embedded one does not; no gap is filled | Why was he / *he was late? |

**Disjoint in words.** Word i of each class below belongs to the split `_SPLIT_OF_WORD[i % 4]` with all its forms, and
no word is in two classes. A verb that stands in a template itself does so in one split only. What the splits share is
function words: determiners, pronouns, auxiliaries, prepositions, question words.

**Disjoint in templates.** Each split has its own templates of each phenomenon: what train shows of a rule must
carry over to other constructions in dev and test.

**Nothing but the rule tells the labels.** Both sentences of a pair are in the set, so every template and phenomenon is
balanced. Both have the same number of words. Each choice comes in both directions (where one template wants `is`, its
twin wants `are`), so no word leans to a label, and what pairs of words tell in train does not help in test.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from unmask.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["acceptability_pairs", "make_acceptability_set"]

_NUM_PAIRS = {"train": 480, "dev": 60, "test": 60}  # of each phenomenon
_SPLIT_OF_WORD = ("train", "train", "dev", "test")

# Open classes. Any word of a class fits any slot of that class, and all words inflect regularly.
_WORDS = {
    "person": """teacher doctor lawyer farmer soldier student nurse baker singer driver painter writer neighbor visitor
        senator judge pilot tailor sailor waiter banker artist dancer actor poet engineer gardener manager tourist
        scientist officer prisoner customer captain professor author musician hunter clerk journalist""",
    "mary": """Mary Susan Linda Karen Nancy Lisa Betty Helen Sandra Donna Carol Ruth Sharon Laura Sarah Jessica Emily
        Julia Anna Emma Alice Rachel Maria Diana""",
    "john": """John Robert Michael David James William Richard Thomas Charles Daniel Matthew Anthony Steven Andrew
        George Kenneth Edward Brian Peter Henry Paul Joseph Simon Kevin""",
    "lamp": """table lamp bicycle letter painting statue mirror basket blanket guitar clock carpet curtain pillow camera
        bottle ladder hammer jacket umbrella candle wallet necklace violin computer engine ticket newspaper kettle vase
        chair desk hat ring rope shirt coin telephone magazine suitcase""",
    "garden": """garden bridge station church museum library kitchen office tower river forest castle market theater
        school hospital fountain harbor village temple airport palace cottage lake barn hotel factory stadium prison
        mill tavern mountain tunnel canal bakery island""",
    "kind": """happy tired clever famous nervous polite lazy brave honest lonely angry hungry friendly wealthy shy proud
        jealous rude generous curious cautious patient selfish cheerful stubborn talented anxious gentle loyal modest
        greedy foolish""",
    "old": """old heavy broken expensive dusty small beautiful cheap dirty large shiny fragile rusty ugly wooden tiny
        strange plain elegant ancient huge valuable useless modern""",
    "quietly": """quietly suddenly nervously calmly briefly politely happily sadly angrily secretly eagerly bravely
        patiently gladly proudly openly""",
    "often": "often always rarely usually frequently sometimes never seldom",
    # verbs without an object
    "arrive": """arrive laugh smile yawn sneeze wait hesitate faint blush shiver tremble complain apologize emerge reply
        linger snore giggle frown stare glance gaze look listen stumble cough sigh appear chuckle doze crouch lurk""",
    # verbs that must have a thing for an object
    "repair": """repair destroy describe mention remove replace damage discover obtain examine ignore inspect receive
        carry acquire conceal crush abandon misplace recognize restore retrieve handle salvage fix avoid confiscate
        dismantle discard seize treasure cherish require request demolish fetch""",
    # verbs that must have a person for an object
    "praise": """praise blame pity admire introduce embarrass reward convince punish respect ridicule excuse humiliate
        surprise amuse protect deceive portray mock distract comfort console motivate insult rescue support congratulate
        betray despise frighten flatter injure torment reassure thank annoy""",
    # verbs that take a clause
    "claim": "claim believe hope suspect insist announce assume declare predict imagine argue deny",
}

# A slot {class} is a word of that class, {class.s}, {class.ed} an inflected form, {class2} a second word of the class.
# [a|b] is the choice that makes the pair: a in the acceptable sentence, b in the other.
_TEMPLATES = {
    "agreement": {
        "train": """
            the {lamp} [is|are] {old}.
            the {lamp.s} [are|is] {old}.
            the {person} near the {lamp.s} [is|are] {kind}.
            the {person.s} near the {lamp} [are|is] {kind}.
            the {lamp} behind the {lamp2.s} [was|were] {old}.
            the {lamp.s} behind the {lamp2} [were|was] {old}.
            the {person} with the {lamp.s} [has|have] {arrive.ed}.
            the {person.s} with the {lamp} [have|has] {arrive.ed}.
            the {person} {often} [{arrive.s}|{arrive}] near the {garden.s}.
            the {person.s} {often} [{arrive}|{arrive.s}] near the {garden}.
            the {person} with the {lamp.s} [{praise.s}|{praise}] {mary}.
            the {person.s} with the {lamp} [{praise}|{praise.s}] {john}.
            """,
        "dev": """
            the {lamp} that the {person.s} {repair.ed} [is|are] {old}.
            the {lamp.s} that the {person} {repair.ed} [are|is] {old}.
            there [was|were] no {lamp} near the {garden.s}.
            there [were|was] no {lamp.s} near the {garden}.
            """,
        "test": """
            the {person} who {praise.ed} the {person2.s} [is|are] {kind}.
            the {person.s} who {praise.ed} the {person2} [are|is] {kind}.
            the {lamp} of the {person.s} [has|have] been {repair.ed}.
            the {lamp.s} of the {person} [have|has] been {repair.ed}.
            every {person} from the {garden.s} [{repair.s}|{repair}] it.
            both {person.s} from the {garden} [{repair}|{repair.s}] it.
            """,
    },
    "reflexives": {
        "train": """
            {mary} {praise.ed} [herself|himself].
            {john} {praise.ed} [himself|herself].
            the {person.s} near the {garden} {praise.ed} [themselves|herself].
            {mary} {quietly} {praise.ed} [herself|themselves].
            the {person.s} {quietly} {praise.ed} [themselves|himself].
            {john} had {praise.ed} [himself|themselves] near the {garden}.
            [{mary} {praise.ed} herself|herself {praise.ed} {mary}] near the {garden}.
            [{john} {praise.ed} himself|himself {praise.ed} {john}] near the {garden}.
            {mary} {claim.ed} that {john} {praise.ed} [himself|herself].
            {john} {claim.ed} that {mary} {praise.ed} [herself|himself].
            the {person.s} {claim.ed} that {mary} {praise.ed} [herself|themselves].
            the {person.s} {claim.ed} that {john} {praise.ed} [himself|themselves].
            {mary} {claim.ed} that the {person.s} {praise.ed} [themselves|herself].
            {john} {claim.ed} that the {person.s} {praise.ed} [themselves|himself].
            """,
        "dev": """
            {mary} does not {praise} [herself|themselves].
            {john} does not {praise} [himself|herself].
            the {person.s} do not {praise} [themselves|himself].
            """,
        "test": """
            {mary} tried to {praise} [herself|himself].
            {john} tried to {praise} [himself|themselves].
            {john} and {mary} {praise.ed} [themselves|herself].
            the {person.s} expected {mary} to {praise} [herself|themselves].
            the {person.s} expected {john} to {praise} [himself|themselves].
            {mary} expected the {person.s} to {praise} [themselves|herself].
            {john} expected the {person.s} to {praise} [themselves|himself].
            """,
    },
    "argument_structure": {
        "train": """
            the {person} [{arrive.ed}|{repair.ed}].
            the {person} [{repair.ed}|{arrive.ed}] the {lamp}.
            the {person} [{arrive.ed}|{repair.ed}] near the {garden}.
            the {person.s} will [{repair}|{arrive}] the {old} {lamp}.
            the {person.s} will [{arrive}|{repair}] {quietly}.
            {mary} has [{praise.ed}|{arrive.ed}] the {person}.
            {john} has [{arrive.ed}|{praise.ed}] behind the {garden}.
            we found the {lamp} that {mary} [{repair.ed}|{arrive.ed}].
            we met the {person} that {john} [{praise.ed}|{arrive.ed}].
            the {old} {lamp} has been [{repair.ed}|{arrive.ed}].
            {mary} might [{arrive}|{repair}] soon.
            """,
        "dev": """
            {mary} wants to [{repair}|{arrive}] your {lamp}.
            {john} wants to [{arrive}|{repair}] with you.
            the {person} who [{arrive.ed}|{praise.ed}] was {kind}.
            the {person} who [{praise.ed}|{arrive.ed}] us was {kind}.
            """,
        "test": """
            the {lamp} was [{repair.ed}|{arrive.ed}] by the {person}.
            the {lamp} that the {person} [{repair.ed}|{arrive.ed}] was {old}.
            {mary} and {john} [{arrive.ed}|{repair.ed}].
            neither of the {person.s} [{arrive.ed}|{repair.ed}] beside {mary}.
            the {person.s} were [{praise.ed}|{arrive.ed}] by {john}.
            someone from the {garden} [{arrive.ed}|{praise.ed}].
            """,
    },
    "word_order": {
        "train": """
            the [{old} {lamp}|{lamp} {old}] was near the {garden}.
            the {person} [{repair.ed} the {lamp}|the {lamp} {repair.ed}].
            [the {person}|{person} the] {arrive.ed} {quietly}.
            the {person} {arrive.ed} [near the {garden}|the {garden} near].
            the {person.s} were [very {kind}|{kind} very].
            {mary} [{praise.ed} us|us {praise.ed}].
            [some of|of some] these {lamp.s} are {old}.
            {john} [had been|been had] {kind}.
            the {person.s} [have {repair.ed}|{repair.ed} have] the {lamp}.
            the {person} [may {arrive}|{arrive} may] near the {garden}.
            """,
        "dev": """
            [all the|the all] {person.s} {arrive.ed}.
            the {person} [will not|not will] {repair} the {lamp}.
            {mary} {repair.ed} [this {old}|{old} this] {lamp}.
            """,
        "test": """
            [both of|of both] the {person.s} {arrive.ed}.
            the {lamp} [has been|been has] {repair.ed}.
            {john} {repair.ed} [my {old} {lamp}|{old} my {lamp}].
            the {person} who [was {kind}|{kind} was] {arrive.ed}.
            the {lamp} is [{old} enough|enough {old}].
            {mary} {quietly} [{repair.ed} it|it {repair.ed}].
            """,
    },
    "questions": {
        "train": """
            what [did the {person}|the {person} did] {repair}?
            where [did the {person.s}|the {person.s} did] {arrive}?
            what [will the {person}|the {person} will] {repair}?
            we wonder what [the {person} did|did the {person}] with the {lamp}.
            we wonder what [the {person} will|will the {person}] {repair}.
            we wonder where [the {person.s} will|will the {person.s}] {arrive}.
            did the {person} [{repair}|{repair.ed}] the {lamp}?
            we wonder who [{repair.ed}|{repair}] the {lamp}.
            whose {lamp} [will {mary}|{mary} will] {repair}?
            we wonder whose {lamp} [{mary} will|will {mary}] {repair}.
            where [are the {old} {lamp.s}|the {old} {lamp.s} are]?
            we wonder where [the {old} {lamp.s} are|are the {old} {lamp.s}].
            had {mary} [{arrive.ed}|{arrive}]?
            will {mary} [{arrive}|{arrive.ed}]?
            what did the {person} {repair} [there|it]?
            did the {person} {repair} [it|there]?
            """,
        "dev": """
            when [can the {person}|the {person} can] {repair} the {lamp}?
            nobody knew when [the {person} could|could the {person}] {arrive}.
            does {mary} [{repair}|{repair.s}] the {lamp}?
            nobody knew who [{repair.s}|{repair}] the {lamp}.
            """,
        "test": """
            why [was the {person}|the {person} was] {kind}?
            tell me why [the {person} was|was the {person}] {kind}.
            which {lamp} [should {mary}|{mary} should] {repair}?
            tell me which {lamp} [{mary} should|should {mary}] {repair}.
            has {john} [{repair.ed}|{repair}] the {lamp}?
            would {john} [{repair}|{repair.ed}] the {lamp}?
            which {lamp} did {mary} {repair} [here|it]?
            why did {john} {repair} [it|here]?
            """,
    },
}

_SLOT = re.compile(r"\{(?P<word>(?P<kind>[a-z]+)\d?)(?:\.(?P<ending>[a-z]+))?\}")
_CHOICE = re.compile(r"\[(?P<good>[^|]*)\|(?P<bad>[^]]*)\]")


def make_acceptability_set(folder: Path, *, seed: int = 0) -> dict[str, Path]:
    """Write train.tsv (4,800 sentences), dev.tsv (600) and test.tsv (600).

    Each has a header and the columns `sentence`, `label` (`acceptable` or `unacceptable`) and `phenomenon`. No sentence
    occurs twice.

    Args:
        folder: made if missing; files of these names are replaced.
        seed: chooses the words that fill the templates, and the order of the rows. Splits and templates stay the same.

    Returns:
        The files, by split.

    Raises:
        DataError: the folder cannot be written.
    """
    paths = {}
    for split in _NUM_PAIRS:
        lines = ["\t".join(row) for row in _rows(split, seed)]
        paths[split] = folder / f"{split}.tsv"
        write_text(paths[split], "\n".join(["sentence\tlabel\tphenomenon", *lines, ""]))
    return paths


def acceptability_pairs(split: str, *, seed: int = 0) -> list[tuple[str, str, str]]:
    """Return the minimal pairs that a split is made of, before they are taken apart and shuffled.

    Args:
        split: "train", "dev" or "test".
        seed: as in `make_acceptability_set`.

    Returns:
        The acceptable sentence, the other, and the phenomenon, of each pair.
    """
    return _pairs(split, random.Random(f"{seed} {split}"))


def _rows(split: str, seed: int) -> list[tuple[str, str, str]]:
    rng = random.Random(f"{seed} {split}")
    rows = [
        (sentence, label, phenomenon)
        for good, bad, phenomenon in _pairs(split, rng)
        for sentence, label in ((good, "acceptable"), (bad, "unacceptable"))
    ]
    rng.shuffle(rows)
    return rows


def _pairs(split: str, rng: random.Random) -> list[tuple[str, str, str]]:
    words = {
        kind: [word for i, word in enumerate(listed.split()) if _SPLIT_OF_WORD[i % len(_SPLIT_OF_WORD)] == split]
        for kind, listed in _WORDS.items()
    }
    pairs = []
    seen: set[str] = set()
    for phenomenon, templates_of_split in _TEMPLATES.items():
        templates = [line.strip() for line in templates_of_split[split].strip().splitlines()]
        for i in range(_NUM_PAIRS[split]):
            good = bad = ""
            while not good or good in seen or bad in seen:
                good, bad = _make_pair(templates[i % len(templates)], words, rng)
            seen |= {good, bad}
            pairs.append((good, bad, phenomenon))
    return pairs


def _make_pair(template: str, words: dict[str, list[str]], rng: random.Random) -> tuple[str, str]:
    """Fill the slots of a template, each with a word of its own, and read it with either side of its choice."""
    chosen: dict[str, str] = {}

    def fill(slot: re.Match[str]) -> str:
        name = slot["word"]
        if name not in chosen:
            chosen[name] = rng.choice([word for word in words[slot["kind"]] if word not in chosen.values()])
        return _inflect(chosen[name], slot["ending"])

    filled = _SLOT.sub(fill, template)
    good, bad = (_CHOICE.sub(rf"\g<{side}>", filled) for side in ("good", "bad"))
    return good[0].upper() + good[1:], bad[0].upper() + bad[1:]


def _inflect(word: str, ending: str | None) -> str:
    """The regular form of a word that ends in -s (plural, third person) or -ed (past, participle)."""
    if ending is None:
        return word
    if re.search("[^aeiou]y$", word):
        word = word[:-1] + "ie"
    elif ending == "s" and re.search("(s|x|z|ch|sh)$", word):
        word += "e"
    return word + ending.removeprefix("e" if word.endswith("e") else "")
