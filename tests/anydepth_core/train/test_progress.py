"""How far a run has come, whether it is the same run, and what it shows and logs of it."""

from dataclasses import replace
import json
import sys
from types import ModuleType

import pytest

from anydepth_core.data.coco import CocoDataset
from anydepth_core.train.epoch_table import duration, EpochTable
from anydepth_core.train.fingerprint import check_same_run, fingerprint
from anydepth_core.train.metrics_log import MetricsLog
from anydepth_core.train.optim import OptimizerSettings
from anydepth_core.train.settings import ModelSettings, TrainSettings
from anydepth_core.train.state import Progress
from anydepth_core.train.tensorboard_log import TensorBoardLog

SETTINGS = TrainSettings(ModelSettings('anydepth_yolov12n'))


def test_losses_add_up_over_the_steps():
    progress = Progress()
    progress.add({'full': 1.5})
    progress.add({'full': 2.0, 'base': 1.0})
    assert progress.position == (0, 2) and progress.sums == {'full': 3.5, 'base': 1.0}


def test_best_figures_and_the_wait_for_a_better_mean():
    progress = Progress(step=4, sums={'full': 1.0}, seconds=3.0)
    seen = []
    for full, base in ((0.2, 0.1), (0.1, 0.3), (0.3, 0.1), (0.2, 0.2), (0.4, 0.4)):
        progress = progress.next_epoch({'full': full, 'base': base})
        seen.append((progress.best['full'], progress.best['base'], progress.waited))
    assert seen == [(0.2, 0.1, 0), (0.2, 0.3, 0), (0.3, 0.3, 1), (0.3, 0.3, 2), (0.4, 0.4, 0)]
    assert progress.position == (5, 0) and not progress.sums and not progress.seconds


def test_an_epoch_without_evaluation_does_not_count_as_waiting():
    progress = Progress(best={'mean': 0.5}, waited=2).next_epoch({})
    assert (progress.epoch, progress.best, progress.waited) == (1, {'mean': 0.5}, 2)


def described(data, settings=SETTINGS, processes=1, **changes):
    sets = [CocoDataset(data / f'{name}.json', data / name) for name in ('train', 'val')]
    settings = replace(settings, **changes)
    return json.loads(json.dumps(fingerprint(settings, *sets, processes)))


@pytest.mark.parametrize(
    ('changes', 'shown'),
    [
        ({}, []),
        ({'epochs': 7, 'workers': 0}, ['epochs 100 -> 7', 'workers 2 -> 0']),
        ({'optimizer': OptimizerSettings(rate=0.5)}, ['optimizer.rate 0.01 -> 0.5']),
        ({'init': 'other.safetensors'}, []),
        ({'batch_size': 8, 'accumulate': 2}, []),
        ({'batch_size': 8, 'processes': 2}, []),
    ],
)
def test_what_may_change_when_a_run_goes_on(data, changes, shown):
    assert check_same_run(described(data), described(data, **changes)) == shown


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'seed': 1}, r'seed 0 -> 1\)'),
        ({'seed': 1, 'epochs': 7, 'plain_epochs': 2}, r'\(plain_epochs 10 -> 2; seed 0 -> 1\)'),
        ({'model': ModelSettings('rtdetr_r18')}, 'model.name anydepth_yolov12n -> rtdetr_r18'),
        ({'optimizer': OptimizerSettings('adamw')}, 'optimizer.name sgd -> adamw'),
        ({'batch_size': 8}, 'images per step 16 -> 8'),
        ({'processes': 2}, 'images per step 16 -> 32'),
    ],
)
def test_another_recipe_is_refused(data, changes, message):
    with pytest.raises(ValueError, match=message):
        check_same_run(described(data), described(data, **changes))


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize('part', ['file_name', 'bbox', 'category'])
def test_other_images_are_refused(data, split, part):
    before = described(data)
    path = data / f'{split}.json'
    content = json.loads(path.read_text())
    if part == 'file_name':
        content['images'].reverse()
    elif part == 'bbox':
        content['annotations'][0]['bbox'][0] += 1
    else:
        content['categories'][0]['name'] = 'ball'
    path.write_text(json.dumps(content))
    name = 'training' if split == 'train' else 'validation'
    with pytest.raises(ValueError, match=f'{name} images . '):
        check_same_run(before, described(data))


def test_table_has_a_column_for_every_depth_and_aligns():
    table = EpochTable(('full', 'base', '1010-1010'), 12)
    row = {'full_total': 1.25, 'AP_full': 0.5, 'AP_1010-1010': 0.25, 'images_per_second': 80.0}
    header, line = table.header(), table.line(3, row, 4000)
    assert len(header) == len(line)
    for title, cell in (('AP full', '0.5000'), ('AP 1010-1010', '0.2500'), ('images/s', '80.0')):
        end = header.index(title) + len(title)
        assert line[:end].endswith(cell)
    assert ' '.join(line.split()) == '3/12 1.250 - - 0.5000 - 0.2500 80.0 1 h 06'


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0, '0 s'), (59.4, '59 s'), (61, '1 min'), (7500, '2 h 05'), (200_000, '2 d 07 h')],
)
def test_time_left_is_readable(seconds, text):
    assert duration(seconds) == text


class FakeWriter:
    """What torch's writer offers."""

    def __init__(self, folder, purge_step):
        self.calls = [(folder, purge_step)]

    def add_scalar(self, name, value, step):
        self.calls.append((name, value, step))

    def flush(self):
        self.calls.append('flush')


@pytest.mark.parametrize(('first_epoch', 'purged'), [(0, None), (3, 3)])
def test_tensorboard_gets_every_figure(tmp_path, monkeypatch, first_epoch, purged):
    module = ModuleType('torch.utils.tensorboard')
    module.SummaryWriter = FakeWriter
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', module)
    log = TensorBoardLog(tmp_path, first_epoch)
    log.append({'epoch': 3, 'rate': 0.1, 'full_total': 2.0, 'AP_full': 0.5})
    assert log.writer.calls == [
        (str(tmp_path), purged),
        ('rate', 0.1, 3),
        ('full/total', 2.0, 3),
        ('AP/full', 0.5, 3),
        'flush',
    ]


def test_without_tensorboard_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    log = TensorBoardLog(tmp_path / 'tensorboard')
    log.append({'epoch': 0, 'rate': 0.1})
    assert not list(tmp_path.iterdir())


def test_tensorboard_writes_event_files(tmp_path):
    pytest.importorskip('tensorboard', reason='tensorboard is not installed')
    log = TensorBoardLog(tmp_path)
    log.append({'epoch': 0, 'rate': 0.1})
    assert list(tmp_path.glob('events.*'))


def test_a_run_that_goes_on_replaces_the_rows_it_repeats(tmp_path):
    log = MetricsLog(tmp_path / 'metrics.csv')
    for epoch in range(3):
        log.append({'epoch': epoch, 'full': 1.5})
    log = MetricsLog(tmp_path / 'metrics.csv', 2)
    log.append({'epoch': 2, 'full': 0.5, 'AP': 0.25})
    text = (tmp_path / 'metrics.csv').read_text()
    assert text == 'epoch,full,AP\n0,1.5,\n1,1.5,\n2,0.5,0.25\n'
