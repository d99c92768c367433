import json

import pytest

from anydepth_core.control.profile import LevelProfile, load_profile, Profile, save_profile

PROFILE = Profile(
    (LevelProfile('base', 10.0, 12.0, 0.1, 0.4), LevelProfile('full', 15.0, 18.0)), 'a board'
)


def test_a_profile_survives_the_file(tmp_path):
    save_profile(PROFILE, tmp_path / 'profile.yaml')
    assert load_profile(tmp_path / 'profile.yaml') == PROFILE


def test_json_is_read_too(tmp_path):
    level = {'depth': 'base', 'latency_ms': 10, 'latency_p95_ms': '1e1'}
    (tmp_path / 'profile.json').write_text(json.dumps({'levels': [level]}))
    assert load_profile(tmp_path / 'profile.json').levels == (LevelProfile('base', 10.0, 10.0),)


@pytest.mark.parametrize(
    'text, words',
    [
        ('levels: []', 'at least one level'),
        ('device: x', 'levels must be a list'),
        ('levels: [3]', 'level 0 must be a mapping'),
        ('levels: [{depth: base}]', 'level 0: latency_ms is missing'),
        ('levels: [{depth: a, latency_ms: fast, latency_p95_ms: 2}]', 'must be a number'),
        ('levels: [{depth: a, latency_ms: true, latency_p95_ms: 2}]', 'must be a number'),
        ('levels: [{depth: a, latency_ms: .nan, latency_p95_ms: 2}]', 'positive number'),
        ('levels: [{depth: a, latency_ms: 3, latency_p95_ms: 2}]', 'below latency_ms'),
        ('levels: [{depth: a, latency_ms: 1, latency_p95_ms: 2, ap: 41}]', 'ap must be'),
        ('levels: [{depth: a, latency_ms: 1, latency_p95_ms: 2, watts: 1}]', 'unknown key watts'),
        ('level: []', 'unknown key level'),
        ('[1, 2]', 'must hold a mapping'),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, text, words):
    path = tmp_path / 'profile.yaml'
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        load_profile(path)
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match='nowhere'):
        load_profile(tmp_path / 'nowhere.yaml')
