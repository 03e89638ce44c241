"""What a model is asked at the gate where nobody gives texts: English and Korean, short and long, plain and odd."""

from __future__ import annotations

from unmask.data.acceptability import acceptability_pairs

__all__ = ["built_in_pairs", "built_in_questions", "built_in_texts"]

_ENGLISH = """
The night train was late again, and nobody on the platform seemed to mind.
I have never paid so much for such a bad cup of coffee.
An excellent book: I read it twice in one weekend and gave copies to my friends.
Does anyone know whether the library is open on Monday?
No.
The committee, which had met in March, rejected both of the proposals it had asked for.
She fixed the roof herself, because the plumber who had promised to come never did.
Prices rose by 3.5 % in the third quarter, after falling by 0.2 % in the second.
Please send the signed form to forms@example.org before 10:30 on Friday.
THE SALE ENDS TODAY!!! Everything must go :)
Anna Berger flew from Vienna to Lagos to speak with Daniel Okafor of the Harbour Company.
What a waste of two hours; the acting was wooden, and the plot made no sense at all.
It wasn't that he didn't like the soup, it's that he'd have liked it hot.
Mix the flour with two eggs, add a little milk, and let the dough rest.
The patient was given 20 mg twice a day, and the fever went down within a week.
A dog ran across the field, jumped over the fence and was gone.
""".strip().splitlines()
_KOREAN = """
기차가 또 늦었지만 승강장에 있던 사람들은 아무도 신경 쓰지 않는 것 같았다.
이렇게 맛없는 커피를 이렇게 비싸게 사 마신 적은 처음이에요.
정말 재미있는 책이라 주말 동안 두 번이나 읽었습니다.
월요일에도 도서관 문을 여는지 아시는 분 계신가요?
아니요.
김민지 씨는 부산에서 서울로 올라와 한빛은행 본점에서 일한다.
배우들 연기는 어색하고 줄거리는 말이 안 되고 ㅠㅠ 시간이 아까웠다
3분기 물가는 3.5% 올랐고, 2분기에는 0.2% 내렸다.
""".strip().splitlines()
_PASSAGES = {
    "The bridge over the Arl was built between 1871 and 1874 by Clara Weiss, an engineer from Graz. It is 212 metres "
    "long and carries a road and a single railway track. In 1932 a flood took two of its five piers away; they were "
    "replaced within four months. Since 1988 only pedestrians and cyclists may use it.": (
        "Who built the bridge over the Arl?",
        "How long is the bridge?",
        "What happened in 1932?",
        "Who may use it since 1988?",
        "What did the bridge cost?",
    ),
    "Honey bees keep their nest at about 35 degrees. When it gets too warm, workers carry water into the hive and fan "
    "it with their wings; when it gets too cold, they gather in a cluster and shiver. A cluster can live through the "
    "winter on fifteen kilograms of honey.": (
        "At what temperature do honey bees keep their nest?",
        "What do the workers do when it gets too warm?",
        "How much honey does a cluster need for the winter?",
        "How many eggs does the queen lay?",
    ),
    "한빛도서관은 1964년에 문을 열었다. 처음에는 책이 삼천 권뿐이었지만 지금은 이십만 권이 넘는다. 2009년에 건물을 "
    "새로 지으면서 어린이 열람실이 생겼고, 매주 수요일에는 밤 아홉 시까지 문을 연다.": (
        "한빛도서관은 언제 문을 열었나?",
        "2009년에 무엇이 생겼나?",
        "수요일에는 몇 시까지 문을 여나?",
        "도서관장은 누구인가?",
    ),
}
_JOINED = (8, 8, 16, 24)  # sentences of each long text


def built_in_texts() -> list[str]:
    """Some hundred and fifty texts; the first forty are of all kinds."""
    made = [sentence for *pair, _ in acceptability_pairs("dev")[::5] for sentence in pair]
    long, sentences = [], [*_ENGLISH, *made]
    for number, count in enumerate(_JOINED):
        long.append(" ".join(sentences[7 * number : 7 * number + count]))
    return [*_ENGLISH, *_KOREAN, *long, *_PASSAGES, *made]


def built_in_pairs() -> list[tuple[str, str]]:
    """Pairs of texts, each text with the one that follows it."""
    texts = built_in_texts()
    return list(zip(texts, [*texts[1:], texts[0]], strict=True))


def built_in_questions() -> list[tuple[str, str]]:
    """Questions, each with the text it is asked of; some have no answer there."""
    return [(question, passage) for passage, questions in _PASSAGES.items() for question in questions]
