"""Trees of ``/sys`` and ``/proc`` as devices show them, below a temporary directory."""

from __future__ import annotations

from pathlib import Path

ZONES = {
    'cpu-thermal': '51468',
    'gpu-thermal': '48250',
    'cv0-thermal': '-256000',
    'cv1-thermal': '-256000',
    'soc0-thermal': '49093',
    'soc1-thermal': '48593',
    'soc2-thermal': '48875',
    'tj-thermal': '51468',
}
HWMON = 'sys/class/hwmon'
INA = f'{HWMON}/hwmon1'
OC = f'{HWMON}/hwmon2/oc1_event_cnt'
BATTERY = 'sys/class/power_supply/BAT0'
GPU = 'sys/devices/platform/bus@0/17000000.gpu/load'
COOLING = 'sys/class/thermal'
CLUSTER = 'sys/devices/system/cpu/cpufreq/policy0'
STAT = 'proc/stat'


def write(root: Path, path: str, content: str | bytes) -> None:
    """Write one file and its folders."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else f'{content}\n'.encode())


def write_zones(root: Path, zones: dict[str, str], first: int = 0) -> None:
    """Write thermal zones."""
    for index, (name, value) in enumerate(zones.items(), start=first):
        write(root, f'sys/class/thermal/thermal_zone{index}/type', name)
        write(root, f'sys/class/thermal/thermal_zone{index}/temp', value)


def write_trips(root: Path, zone: int, trips: dict[str, str]) -> None:
    """Write the trip points of a thermal zone: kind to millidegrees."""
    for index, (kind, value) in enumerate(trips.items()):
        write(root, f'{COOLING}/thermal_zone{zone}/trip_point_{index}_type', kind)
        write(root, f'{COOLING}/thermal_zone{zone}/trip_point_{index}_temp', value)


def write_rails(root: Path, rails: dict[str, tuple[str, str]]) -> None:
    """Write the channels of one INA3221: label to millivolts and milliamperes."""
    write(root, f'{INA}/name', 'ina3221')
    for channel, (label, (millivolts, milliamperes)) in enumerate(rails.items(), start=1):
        write(root, f'{INA}/in{channel}_label', label)
        write(root, f'{INA}/in{channel}_input', millivolts)
        write(root, f'{INA}/curr{channel}_input', milliamperes)
        write(root, f'{INA}/curr{channel}_crit_alarm', '0')


def write_stat(root: Path, busy: int, idle: int) -> None:
    """Write the processors' counts of jiffies."""
    write(root, STAT, f'cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10')


def write_cooler(root: Path, index: int, kind: str, state: str) -> None:
    """Write a cooling device."""
    write(root, f'{COOLING}/cooling_device{index}/type', kind)
    write(root, f'{COOLING}/cooling_device{index}/cur_state', state)


def write_cap(root: Path, now: int, highest: int) -> None:
    """Write the clock cap of one cluster, in kHz."""
    write(root, f'{CLUSTER}/scaling_max_freq', str(now))
    write(root, f'{CLUSTER}/cpuinfo_max_freq', str(highest))


def write_jetson(root: Path) -> Path:
    """Write what a Jetson Orin Nano or NX shows: 8 zones, 3 rails."""
    write_zones(root, ZONES)
    write_trips(root, 0, {'active': '70000', 'passive': '99000', 'critical': '104500'})
    rails = {
        'VDD_IN': ('5000', '1400'),
        'VDD_CPU_GPU_CV': ('5000', '400'),
        'VDD_SOC': ('5000', '300'),
    }
    write_rails(root, rails)
    write(root, f'{INA}/in7_label', 'sum of shunt voltages')
    write(root, f'{INA}/in7_input', '11')
    write(root, f'{HWMON}/hwmon2/name', 'soctherm_oc')
    for counter in (1, 2, 3):
        write(root, f'{HWMON}/hwmon2/oc{counter}_event_cnt', '0')
    write(root, GPU, '370')
    write_stat(root, 100, 100)
    write_cooler(root, 0, 'pwm-fan', '2')
    write_cooler(root, 1, 'cpufreq-cpu0', '0')
    write_cooler(root, 2, 'devfreq-17000000.gpu', '0')
    write_cap(root, 1510400, 1984000)
    return root


def write_laptop(root: Path) -> Path:
    """Write what an ordinary laptop on battery shows."""
    write_zones(root, {'acpitz': '47000', 'x86_pkg_temp': '58000'})
    files = {
        'type': 'Battery',
        'status': 'Discharging',
        'present': '1',
        'capacity': '64',
        'energy_now': '32250000',
        'energy_full': '50000000',
        'power_now': '11500000',
    }
    for name, content in files.items():
        write(root, f'{BATTERY}/{name}', content)
    write(root, 'sys/class/power_supply/AC/type', 'Mains')
    write(root, 'sys/class/power_supply/AC/online', '0')
    write_stat(root, 100, 100)
    write_cooler(root, 0, 'Processor', '0')
    write_cap(root, 4200000, 4200000)
    return root
