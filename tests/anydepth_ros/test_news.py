"""What is said again and again is told once."""

from __future__ import annotations

from anydepth_ros.news import News


def test_a_text_is_told_once_while_it_lasts() -> None:
    news = News()
    assert news.among(0.0, ['a', 'b', 'a']) == ['a', 'b']
    assert [news.among(float(second), ['a', 'b']) for second in range(1, 100)] == [[]] * 99


def test_what_comes_back_after_having_gone_is_told_again() -> None:
    news = News(forget_after_s=10.0)
    assert news.among(0.0, ['a']) == ['a']
    assert news.among(10.0, ['a']) == []
    assert news.among(19.0, []) == []
    assert news.among(20.5, ['a']) == ['a']


def test_a_text_that_comes_and_goes_is_not_told_every_time() -> None:
    news = News(forget_after_s=10.0)
    told = [news.among(float(t), ['a'] if t % 2 else []) for t in range(100)]
    assert sum(map(len, told)) == 1


def test_texts_are_told_apart() -> None:
    news = News()
    news.among(0.0, ['a'])
    assert news.among(1.0, ['b']) == ['b']
