"""Build vision_msgs into this Python's environment with the generators from PyPI and gcc.

Run by the environment's own Python: ``.venv/bin/python tools/build_vision_msgs.py``. Only the nine
messages that the detector needs are built. Their definitions (``tools/vision_msgs/*.msg``) are
field lists; the type hashes of the result are compared with those of the released vision_msgs
4.1.1, so a node built here talks to any robot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
import importlib
import json
import os
from pathlib import Path
import shutil
import subprocess
import sys
import sysconfig
import tempfile

PACKAGE = 'vision_msgs'
DEPENDENCIES = ('std_msgs', 'geometry_msgs')
DEFINITIONS = Path(__file__).resolve().parent / PACKAGE
TYPE_SUPPORTS = ('rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_introspection_c')
GENERATORS = {
    'rosidl_generator_type_description': 'generate_type_hash',
    'rosidl_generator_c': 'generate_c',
    'rosidl_typesupport_c': 'generate_c',
    'rosidl_typesupport_introspection_c': 'generate_c',
    'rosidl_typesupport_fastrtps_c': 'generate_typesupport_fastrtps_c',
    'rosidl_generator_py': 'generate_py',
}
EXTRA_ARGUMENTS = {
    'rosidl_typesupport_c': [list(TYPE_SUPPORTS)],
    'rosidl_generator_py': [['rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_c']],
}
TYPE_HASHES = {
    'Detection2DArray': '214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968',
    'Detection2D': '0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea',
    'ObjectHypothesisWithPose': '41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc',
    'ObjectHypothesis': '51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90',
    'BoundingBox2D': '008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f',
    'Pose2D': 'b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648',
    'Point2D': 'eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247',
    'LabelInfo': '3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783',
}


@dataclass(frozen=True)
class Library:
    """One shared library: where it goes, what it is compiled from and linked with."""

    target: Path
    sources: tuple[Path, ...]
    links: tuple[str, ...]


class Workspace:
    """The folders of one build: sources under ``build``, results in the environment."""

    def __init__(self, build: Path, prefix: Path, modules: Path) -> None:
        self.build = build
        self.prefix = prefix
        self.sources = build / 'src'
        self.share = prefix / 'share' / PACKAGE
        self.lib = prefix / 'lib'
        self.module = modules / PACKAGE
        self.messages = sorted(path.stem for path in DEFINITIONS.glob('*.msg'))
        for folder in (self.sources / 'msg', self.share / 'msg', self.module):
            folder.mkdir(parents=True, exist_ok=True)

    def generated(self, generator: str) -> Path:
        """Return the folder one generator writes into."""
        return self.build / generator / PACKAGE

    @property
    def idl_files(self) -> list[str]:
        """Interface files relative to ``sources``."""
        return [f'msg/{name}.idl' for name in self.messages]


def main() -> int:
    """Build, install and verify; return the exit status."""
    prefix = Path(sys.prefix)
    os.environ.setdefault('AMENT_PREFIX_PATH', str(prefix))
    with tempfile.TemporaryDirectory(prefix='build_vision_msgs_') as folder:
        workspace = Workspace(Path(folder), prefix, Path(sysconfig.get_paths()['platlib']))
        write_interfaces(workspace)
        generate(workspace)
        check_type_hashes(workspace)
        build_libraries(workspace, libraries(workspace))
        install(workspace)
    print(
        f'built {len(workspace.messages)} messages of {PACKAGE}; type hashes equal those of the '
        'released package'
    )
    return 0


def write_interfaces(workspace: Workspace) -> None:
    """Copy the definitions and convert each to the IDL that the generators read."""
    from rosidl_adapter.msg import convert_msg_to_idl

    for name in workspace.messages:
        shutil.copy(DEFINITIONS / f'{name}.msg', workspace.sources / 'msg')
        relative = Path('msg') / f'{name}.msg'
        convert_msg_to_idl(workspace.sources, PACKAGE, relative, workspace.sources / 'msg')


def generate(workspace: Workspace) -> None:
    """Run every generator by its function: the ``rosidl`` command of the wheels does not start."""
    for generator, function in GENERATORS.items():
        arguments = write_arguments(workspace, generator)
        getattr(importlib.import_module(generator), function)(
            str(arguments), *EXTRA_ARGUMENTS.get(generator, [])
        )
    for generator in ('rosidl_generator_c', *TYPE_SUPPORTS):
        write_visibility_header(workspace, generator)


def write_arguments(workspace: Workspace, generator: str) -> Path:
    """Write the argument file that every rosidl generator is started with."""
    share = workspace.prefix / 'share'
    output = workspace.generated(generator)
    output.mkdir(parents=True)
    descriptions = workspace.generated('rosidl_generator_type_description')
    dependencies = [
        f'{package}:{path}'
        for package in DEPENDENCIES
        for path in (share / package / 'msg').glob('*.idl')
    ]
    arguments = {
        'package_name': PACKAGE,
        'output_dir': str(output),
        'template_dir': str(share / generator / 'resource'),
        'idl_tuples': [f'{workspace.sources}:{idl}' for idl in workspace.idl_files],
        'ros_interface_files': [
            str(workspace.sources / 'msg' / f'{n}.msg') for n in workspace.messages
        ],
        'ros_interface_dependencies': dependencies,
        'target_dependencies': [],
        'include_paths': [f'{p.parent.name}:{p.parent}' for p in share.glob('*/msg')],
        'type_description_tuples': [
            f'{idl}:{(descriptions / idl).with_suffix(".json")}' for idl in workspace.idl_files
        ],
    }
    path = workspace.build / f'{generator}.json'
    path.write_text(json.dumps(arguments))
    return path


def write_visibility_header(workspace: Workspace, generator: str) -> None:
    """Fill in the header that the generated C code includes and that CMake would configure."""
    name = f'{generator}__visibility_control.h'
    template = workspace.prefix / 'share' / generator / 'resource' / f'{name}.in'
    text = template.read_text().replace('@PROJECT_NAME@', PACKAGE)
    text = text.replace('@PROJECT_NAME_UPPER@', PACKAGE.upper())
    (workspace.generated(generator) / 'msg' / name).write_text(text)


def check_type_hashes(workspace: Workspace) -> None:
    """Compare the type hashes with those of the released package.

    Raises:
        RuntimeError: if one differs; peers would refuse to talk to us.
    """
    folder = workspace.generated('rosidl_generator_type_description') / 'msg'
    for name, expected in TYPE_HASHES.items():
        entries = json.loads((folder / f'{name}.json').read_text())['type_hashes']
        found = {entry['type_name']: entry['hash_string'] for entry in entries}[
            f'{PACKAGE}/msg/{name}'
        ]
        if found != f'RIHS01_{expected}':
            raise RuntimeError(
                f'{name}: type hash is {found}, the released package has RIHS01_{expected}'
            )


def libraries(workspace: Workspace) -> list[Library]:
    """List the shared libraries in link order."""

    def generated(generator: str, pattern: str) -> tuple[Path, ...]:
        return tuple(sorted(workspace.generated(generator).rglob(pattern)))

    def of_dependencies(kind: str) -> tuple[str, ...]:
        return tuple(f'{package}__{kind}' for package in DEPENDENCIES)

    def shared(
        kind: str, sources: tuple[Path, ...], own: Iterable[str], others: Iterable[str]
    ) -> Library:
        links = (*(f'{PACKAGE}__{k}' for k in own), *of_dependencies(kind), *others)
        return Library(workspace.lib / f'lib{PACKAGE}__{kind}.so', sources, links)

    fastrtps, introspection = TYPE_SUPPORTS
    python_sources = tuple(
        sorted((workspace.generated('rosidl_generator_py') / 'msg').glob('*_s.c'))
    )
    result = [
        shared(
            'rosidl_generator_c',
            generated('rosidl_generator_c', '*.c'),
            (),
            ('rosidl_runtime_c', 'rcutils'),
        ),
        shared(
            fastrtps,
            generated(fastrtps, '*.cpp'),
            ('rosidl_generator_c',),
            (fastrtps, 'rosidl_typesupport_fastrtps_cpp', 'fastcdr', 'rmw'),
        ),
        shared(
            introspection,
            generated(introspection, '*.c'),
            ('rosidl_generator_c',),
            (introspection,),
        ),
        shared(
            'rosidl_typesupport_c',
            generated('rosidl_typesupport_c', '*.cpp'),
            (fastrtps, 'rosidl_generator_c'),
            ('rosidl_typesupport_c', 'rosidl_runtime_c'),
        ),
        shared(
            'rosidl_generator_py', python_sources, ('rosidl_generator_c',), ('rosidl_runtime_c',)
        ),
    ]
    return result + [extension(workspace, kind) for kind in ('rosidl_typesupport_c', fastrtps)]


def extension(workspace: Workspace, kind: str) -> Library:
    """Describe the Python extension module of one type support."""
    source = workspace.generated('rosidl_generator_py') / f'_{PACKAGE}_s.ep.{kind}.c'
    links = tuple(f'{PACKAGE}__{k}' for k in ('rosidl_generator_py', kind, 'rosidl_generator_c'))
    return Library(workspace.module / f'{PACKAGE}_s__{kind}.so', (source,), links)


def build_libraries(workspace: Workspace, wanted: Sequence[Library]) -> None:
    """Compile every source in parallel, then link the libraries in order."""
    includes = include_flags(workspace)
    sources = [source for library in wanted for source in library.sources]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda source: compile_source(source, includes), sources))
    search = [f'-L{workspace.lib}']
    for library in wanted:
        objects = [f'{source}.o' for source in library.sources]
        links = [f'-l{name}' for name in library.links]
        run(['g++', '-shared', '-o', str(library.target), *objects, *search, *links])


def include_flags(workspace: Workspace) -> list[str]:
    """Return the include folders: generated code, every installed ROS package, Python, numpy."""
    import numpy

    include = workspace.prefix / 'include'
    packages = [p for p in include.iterdir() if p.is_dir() and not p.name.startswith('python')]
    folders = [workspace.build / generator for generator in GENERATORS]
    folders += [
        include,
        *packages,
        Path(sysconfig.get_paths()['include']),
        Path(numpy.get_include()),
    ]
    return [f'-I{folder}' for folder in folders]


def compile_source(source: Path, includes: Sequence[str]) -> None:
    """Compile one file without optimisation: messages are small and the set-up should be short."""
    compiler = ['g++', '-std=c++17'] if source.suffix == '.cpp' else ['gcc', '-std=gnu11']
    run([*compiler, '-O0', '-fPIC', '-w', '-c', str(source), '-o', f'{source}.o', *includes])


def run(command: Sequence[str]) -> None:
    """Run a compiler; its whole output becomes the error when it fails.

    Raises:
        RuntimeError: if the command fails.
    """
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f'{command[0]} failed:\n{done.stdout}')


def install(workspace: Workspace) -> None:
    """Install the Python module, the interface files and the ament index entries."""
    shutil.copytree(
        workspace.generated('rosidl_generator_py'),
        workspace.module,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns('*.c', '*.o'),
    )
    (workspace.module / '__init__.py').touch()
    descriptions = workspace.generated('rosidl_generator_type_description') / 'msg'
    for name in workspace.messages:
        for folder, suffix in (
            (workspace.sources / 'msg', 'msg'),
            (workspace.sources / 'msg', 'idl'),
            (descriptions, 'json'),
        ):
            shutil.copy(folder / f'{name}.{suffix}', workspace.share / 'msg')
    index = workspace.prefix / 'share' / 'ament_index' / 'resource_index'
    for kind in ('packages', 'rosidl_interfaces'):
        (index / kind).mkdir(parents=True, exist_ok=True)
    (index / 'packages' / PACKAGE).touch()
    interfaces = [*workspace.idl_files, *(f'msg/{name}.msg' for name in workspace.messages)]
    (index / 'rosidl_interfaces' / PACKAGE).write_text('\n'.join(interfaces))


if __name__ == '__main__':
    sys.exit(main())
