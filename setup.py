"""Install anydepth_core and anydepth_ros, their configuration, media and the default bundle."""

import os
import re

from setuptools import find_packages, setup

PACKAGE = 'anydepth_ros'
ROOT = os.path.dirname(os.path.abspath(__file__))


def version():
    """Read the one version number without importing the package."""
    with open(os.path.join(ROOT, 'anydepth_core', 'version.py'), encoding='utf-8') as file:
        return re.search(r"__version__ = '([^']+)'", file.read()).group(1)


def tree(folder):
    """List a folder's files for data_files, each at the same place under share/anydepth_ros."""
    for path, _, names in sorted(os.walk(os.path.join(ROOT, folder))):
        relative = os.path.relpath(path, ROOT)
        files = [
            os.path.join(relative, name) for name in sorted(names) if not name.startswith('.')
        ]
        if files and '__pycache__' not in path:
            yield os.path.join('share', PACKAGE, relative), files


setup(
    name=PACKAGE,
    version=version(),
    packages=find_packages(
        include=['anydepth_core', 'anydepth_core.*', 'anydepth_ros', 'anydepth_ros.*']
    ),
    data_files=[
        ('share/ament_index/resource_index/packages', [os.path.join('resource', PACKAGE)]),
        (os.path.join('share', PACKAGE), ['package.xml']),
        *tree('launch'),
        *tree('config'),
    ],
    install_requires=[
        'setuptools',
        'numpy',
        'opencv-python-headless',
        'PyYAML',
        'onnx',
        'onnxruntime',
    ],
    extras_require={
        'bag': ['rosbags>=0.11', 'tqdm'],
        'demo': ['matplotlib', 'dacite'],
        'tensorrt-rtx': ['tensorrt-rtx-cu13-libs>=1.7,<2', 'tensorrt-rtx-cu13-bindings>=1.7,<2'],
        'test': ['hypothesis', 'pytest', 'pytest-timeout'],
        'train': ['torch>=2.11', 'safetensors', 'dacite', 'scipy', 'faster-coco-eval', 'tqdm'],
    },
    python_requires='>=3.10',
    zip_safe=False,
    maintainer='AnyDepth ROS maintainers',
    maintainer_email='maintainers@example.org',
    description='Any-depth object detection for ROS 2: one set of weights, depth frame by frame.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'detector_node = anydepth_ros.detector_node:main',
            'controller_node = anydepth_ros.controller_node:main',
            'video_source_node = anydepth_ros.video_source_node:main',
            'anydepth_demo = anydepth_ros.demo.__main__:main',
            'detect_bag = anydepth_ros.bag.command:main',
            'anydepth = anydepth_core.cli:main',
        ],
    },
)
