"""Start the detector, and a video source if one is named.

ros2 launch anydepth_ros detector.launch.py image_topic:=/camera/image_raw depth:=full
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

PACKAGE = 'anydepth_ros'


def arguments():
    """List the launch arguments: name, default, description."""
    params_file = os.path.join(get_package_share_directory(PACKAGE), 'config', 'detector.yaml')
    return [
        ('namespace', '', 'namespace of the nodes and their topics, for example cam0'),
        ('image_topic', 'image', 'topic of the images'),
        ('params_file', params_file, 'YAML file with the parameters of the detector'),
        ('bundle', '', "directory of the bundle, or 'default'; empty: as in params_file"),
        (
            'depth',
            '',
            "ladder level, 'full', 'base' or bits like 1111-0011 (RT-DETR: 1111-0d4); "
            'empty: as in params_file',
        ),
        (
            'autostart',
            '',
            'true: the detector configures and activates itself; empty: as in params_file',
        ),
        ('use_sim_time', 'false', 'use the clock of a simulation or bag'),
        ('log_level', 'info', 'debug, info, warn, error or fatal'),
        (
            'source',
            '',
            'video file, folder of images or camera number to play; empty: no video source',
        ),
        ('rate', '0.0', 'frames per second of the video source, 0.0: the rate of the recording'),
    ]


def generate_launch_description():
    """Describe the launch; called by ``ros2 launch``."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in arguments()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=nodes)])


def nodes(context):
    """Make the nodes; an empty argument leaves what the parameter file says."""
    values = context.launch_configurations
    common = {
        'package': PACKAGE,
        'namespace': values['namespace'],
        'remappings': [('image', values['image_topic'])],
        'arguments': ['--ros-args', '--log-level', values['log_level']],
        'output': 'screen',
    }
    use_sim_time = is_true(values['use_sim_time'])
    chosen = {'use_sim_time': use_sim_time}
    if values['bundle']:
        chosen['bundle'] = ParameterValue(values['bundle'], value_type=str)
    if values['depth']:
        depth = values['depth']
        chosen['depth'] = int(depth) if is_level(depth) else ParameterValue(depth, value_type=str)
    if values['autostart']:
        chosen['autostart'] = is_true(values['autostart'])
    detector = LifecycleNode(
        executable='detector_node',
        name='detector',
        parameters=[values['params_file'], chosen],
        **common,
    )
    if not values['source']:
        return [detector]
    playing = {
        'use_sim_time': use_sim_time,
        'source': ParameterValue(values['source'], value_type=str),
        'rate': float(values['rate']),
    }
    return [
        detector,
        Node(executable='video_source_node', name='video_source', parameters=[playing], **common),
    ]


def is_level(depth):
    """Tell a ladder level (up to three digits) from bits."""
    return depth.isdecimal() and len(depth) <= 3


def is_true(text):
    """Read a launch argument that is true or false."""
    if text.lower() not in ('true', 'false'):
        raise ValueError(f'{text!r} is not legal: use true or false')
    return text.lower() == 'true'
