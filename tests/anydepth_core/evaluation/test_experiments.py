"""The matrix of runs, and the tables that are made of their figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from anydepth_core.config import load_yaml
from anydepth_core.evaluation.experiments.claims import CLAIMS, verdict
from anydepth_core.evaluation.experiments.matrix import (
    recipe_of,
    Run,
    runs_of,
    STUDIES,
    VARIANTS,
    write_recipe,
)
from anydepth_core.evaluation.experiments.report import read_results, write_report
from anydepth_core.evaluation.experiments.results import (
    paired,
    Point,
    read_points,
    spread,
    write_points,
)
from anydepth_core.train.recipe import load_recipe

RECIPES = Path(__file__).parents[3] / 'config' / 'recipes' / 'experiments'


def point(variant, seed, label, ap, split='test', weights='averaged', norms='trained'):
    cost = {'full': 300, '0000-1111': 250, 'base': 200}[label]
    return Point('bccd', variant, seed, split, weights, norms, label, '-', cost, ap, ap + 0.2)


def fill(folder, aps):
    """Write figures, given as {(variant, seed): {label: AP}}."""
    for (variant, seed), by_label in aps.items():
        points = [point(variant, seed, label, ap) for label, ap in by_label.items()]
        points += [point(variant, seed, label, 0.9, split='val') for label in by_label]
        write_points(Run(variant, seed, folder).file('points.csv'), points)
        write_recipe(RECIPES / 'bccd.yaml', Run(variant, seed, folder))


@pytest.mark.parametrize('study', STUDIES)
@pytest.mark.parametrize('variant', VARIANTS)
def test_every_recipe_of_the_matrix_is_legal(tmp_path, study, variant):
    run = Run(variant, 3, tmp_path)
    write_recipe(RECIPES / f'{STUDIES[study].recipe}.yaml', run)
    settings = load_recipe(run.file('yaml'))
    assert settings.seed == 3
    assert settings.ablation.passes == {'full_only': 'full', 'base_only': 'base'}.get(
        variant, 'both'
    )


def test_a_variant_changes_nothing_else_of_the_recipe(tmp_path):
    base = load_yaml(RECIPES / 'bccd.yaml')
    before = repr(base)
    method = recipe_of(base, Run('any_depth', 0, tmp_path))
    for variant in VARIANTS:
        recipe = recipe_of(base, Run(variant, 0, tmp_path))
        changed = {
            name for name in recipe.keys() | method.keys() if recipe.get(name) != method.get(name)
        }
        assert changed == {name.split('.')[0] for name in VARIANTS[variant].changes}
    assert repr(base) == before


def test_fewer_epochs_keep_the_share_of_plain_ones(tmp_path):
    base = {'epochs': 50, 'plain_epochs': 10}
    recipe = recipe_of(base, Run('any_depth', 0, tmp_path), epochs=10)
    assert (recipe['epochs'], recipe['plain_epochs']) == (10, 2)


def test_all_runs_can_have_other_weights_and_another_rate(tmp_path):
    base = {'epochs': 50, 'loss': {'alpha_base': 0.2}}
    assert 'init' not in recipe_of(base, Run('any_depth', 0, tmp_path))
    for variant in ('any_depth', 'full_only'):
        recipe = recipe_of(base, Run(variant, 0, tmp_path), changes={'init': 'default'})
        assert recipe['init'] == 'default'
    run = Run('any_depth', 0, tmp_path)
    changes = {'init': 'default', 'optimizer.rate': 8e-3}
    write_recipe(RECIPES / 'bccd.yaml', run, changes=changes)
    settings = load_recipe(run.file('yaml'))
    assert (settings.init, settings.optimizer.rate) == ('default', 8e-3)
    with pytest.raises(ValueError, match='choose another --output'):
        write_recipe(RECIPES / 'bccd.yaml', run)


def test_a_run_is_not_continued_with_another_recipe(tmp_path):
    run = Run('any_depth', 0, tmp_path)
    assert write_recipe(RECIPES / 'bccd.yaml', run, epochs=3) == 3
    write_recipe(RECIPES / 'bccd.yaml', run, epochs=3)
    with pytest.raises(ValueError, match='choose another --output'):
        write_recipe(RECIPES / 'bccd.yaml', run)


def test_runs_come_seed_by_seed(tmp_path):
    runs = runs_of(tmp_path, (0, 1), ('full_only', 'any_depth'))
    assert [run.name for run in runs] == [
        'full_only-0',
        'any_depth-0',
        'full_only-1',
        'any_depth-1',
    ]
    assert len(runs_of(tmp_path, (0,))) == len(VARIANTS)
    with pytest.raises(ValueError, match=r"no variant 'tiny': give some of any_depth"):
        runs_of(tmp_path, (0,), ('tiny',))


def test_points_survive_the_file(tmp_path):
    points = [point('any_depth', 0, 'full', 0.51236), point('any_depth', 0, 'base', 0.25)]
    write_points(tmp_path / 'a.csv', points)
    assert [round(one.ap, 4) for one in read_points(tmp_path / 'a.csv')] == [0.5124, 0.25]
    assert read_points(tmp_path / 'a.csv')[1] == points[1]


def test_a_file_without_figures_is_named(tmp_path):
    (tmp_path / 'a.csv').write_text('seed,ap\n1,x\n')
    with pytest.raises(ValueError, match=r'a\.csv holds no figures of runs'):
        read_points(tmp_path / 'a.csv')


def test_differences_are_paired_by_seed():
    assert paired({0: 0.5, 1: 0.7, 2: 0.1}, {1: 0.6, 0: 0.5}) == pytest.approx([0.0, 0.1])


@pytest.mark.parametrize(
    ('values', 'signed', 'text'),
    [
        ([], False, '-'),
        ([0.5], False, '0.500'),
        ([0.4, 0.6], False, '0.500 (0.400 .. 0.600)'),
        ([-0.1, 0.3], True, '+0.100 (-0.100 .. +0.300)'),
    ],
)
def test_spread_names_mean_and_range(values, signed, text):
    assert spread(values, signed) == text


@pytest.mark.parametrize(
    ('differences', 'margin', 'text'),
    [
        ([], 0.0, 'not measured'),
        ([0.01, 0.0, -0.0004], 0.0, 'yes (3 of 3 seeds)'),
        ([0.03, -0.01], 0.0, 'yes (1 of 2 seeds)'),
        ([-0.03, 0.01], 0.0, 'no (1 of 2 seeds)'),
        ([-0.018, -0.021], 0.02, 'yes (1 of 2 seeds)'),
        ([-0.03], 0.02, 'no (0 of 1 seeds)'),
    ],
)
def test_verdict_counts_the_seeds(differences, margin, text):
    assert verdict(differences, margin) == text


def test_claims_compare_depths_that_are_trained():
    for claim in CLAIMS:
        for variant, label in (claim.first, claim.second):
            assert label in (VARIANTS[variant].depths or ('full', 'base'))


def test_report_shows_the_reported_split_and_the_claims(tmp_path):
    fill(
        tmp_path,
        {
            ('any_depth', 0): {'full': 0.50, '0000-1111': 0.4, 'base': 0.47},
            ('any_depth', 1): {'full': 0.52, '0000-1111': 0.4, 'base': 0.51},
            ('full_only', 0): {'full': 0.49},
            ('full_only', 1): {'full': 0.53},
            ('base_only', 1): {'base': 0.45},
        },
    )
    written = write_report(tmp_path)
    text = (tmp_path / 'report.md').read_text()
    assert {path.name for path in written} >= {'report.md', 'points.csv'}
    assert '| variant | full | 0000-1111 | base |' in text
    assert '| `any_depth` | 0.510 (0.500 .. 0.520) | 0.400 (0.400 .. 0.400) |' in text
    assert '| `base_only` | - | - | 0.450 |' in text
    assert '+0.000 (-0.010 .. +0.010) | yes (1 of 2 seeds) |' in text  # full against alone
    assert '+0.060 | yes (1 of 1 seeds) |' in text  # base against alone
    assert '-0.020 (-0.030 .. -0.010) | yes (1 of 2 seeds) |' in text  # what base loses
    assert '0.9' not in text  # the split that chose the depths
    assert 'second norms | 19,728 of 3,310,288 parameters' in text
    assert len(read_points(tmp_path / 'points.csv')) == 9


def test_report_says_what_estimated_norms_gain(tmp_path):
    fill(tmp_path, {('any_depth', seed): {'full': 0.5, 'base': 0.4} for seed in (0, 1)})
    for seed, gain in ((0, 0.02), (1, -0.01)):
        points = [
            point('any_depth', seed, label, 0.4 + (norms == 'own') * gain, norms=norms)
            for label in ('full', 'base')
            for norms in ('trained', 'own')
        ]
        write_points(Run('any_depth', seed, tmp_path).file('norms.csv'), points)
    alone = point('full_only', 0, 'full', 0.5, norms='all')
    write_points(Run('full_only', 0, tmp_path).file('norms.csv'), [alone])
    write_report(tmp_path)
    text = (tmp_path / 'report.md').read_text()
    row = '| `any_depth` | own | +0.005 (-0.010 .. +0.020) | +0.005 (-0.010 .. +0.020) |'
    assert row in text
    assert '| `full_only` | all |' not in text  # nothing to compare it with


def test_claims_are_also_judged_with_all_norms_estimated_alike(tmp_path):
    aps = {('any_depth', 0): {'full': 0.5, 'base': 0.4}, ('full_only', 0): {'full': 0.51}}
    fill(tmp_path, aps)
    for (variant, seed), by_label in aps.items():
        gain = 0.03 if variant == 'any_depth' else 0.01
        points = [
            point(variant, seed, label, ap + gain, norms='own, augmented')
            for label, ap in by_label.items()
        ]
        write_points(Run(variant, seed, tmp_path).file('norms.csv'), points)
    write_report(tmp_path)
    trained, estimated = (tmp_path / 'report.md').read_text().split('all norms re-estimated')
    assert '| -0.010 | no (0 of 1 seeds) |' in trained
    assert '| +0.010 | yes (1 of 1 seeds) |' in estimated


def test_report_draws_a_picture(tmp_path):
    pytest.importorskip('matplotlib')
    fill(tmp_path, {('any_depth', 0): {'full': 0.5, 'base': 0.4}, ('full_only', 0): {'full': 0.5}})
    write_report(tmp_path)
    assert (tmp_path / 'ap.png').read_bytes().startswith(b'\x89PNG')


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match='holds figures of 0 data sets'):
        read_results(tmp_path)
