"""Start the detector, and on demand its depth controller and a video source.

ros2 launch anydepth_ros detector.launch.py image_topic:=/camera/image_raw depth:=full
ros2 launch anydepth_ros detector.launch.py cameras:=front,rear image_topic:=/{camera}/image_raw
"""

import os
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

PACKAGE = 'anydepth_ros'
CAMERA = '{camera}'  # stands for the name of each camera in image_topic and source
TEXTS = ('model', 'backend', 'image_transport')  # arguments that are text parameters
FLAGS = ('autostart', 'use_sim_time')  # arguments that are true or false parameters


def arguments() -> list[tuple[str, str, str]]:
    """List the launch arguments: name, default, description."""
    config = os.path.join(get_package_share_directory(PACKAGE), 'config')
    params_file = os.path.join(config, 'detector.yaml')
    controller_file = os.path.join(config, 'controller.yaml')
    return [
        ('namespace', '', 'namespace of the nodes and their topics, for example robot1'),
        (
            'image_topic',
            'image',
            "topic of the raw images; with several cameras '{camera}' stands for the name of each "
            "('/{camera}/image_raw'), and a relative topic lies in each camera's namespace",
        ),
        (
            'image_transport',
            '',
            'raw, or compressed: subscribe to image_topic/compressed; empty: as in params_file',
        ),
        ('model', '', "directory of the bundle, or 'default'; empty: as in params_file"),
        (
            'depth',
            '',
            "ladder level, 'full', 'base' or bits like 1111-0011 (RT-DETR: 1111-0d4); "
            'empty: as in params_file',
        ),
        ('backend', '', 'what runs the model: onnxruntime; empty: as in params_file'),
        (
            'cameras',
            '',
            'names of several cameras that share the model, for example front,rear; '
            'empty: as in params_file',
        ),
        ('params_file', params_file, 'YAML file with the parameters of the detector'),
        (
            'controller',
            'false',
            'true: start the depth controller and let it own the depth (depth_mode auto)',
        ),
        (
            'controller_params_file',
            controller_file,
            'YAML file with the parameters of the controller, its targets above all',
        ),
        (
            'autostart',
            '',
            'true: the detector configures and activates itself; empty: as in params_file',
        ),
        (
            'use_sim_time',
            '',
            'true: use the clock of a simulation or bag; empty: as in params_file',
        ),
        ('log_level', 'info', 'debug, info, warn, error or fatal'),
        (
            'source',
            '',
            "video file, folder of images or camera number to play, '{camera}' as in image_topic; "
            'empty: no video source',
        ),
        ('rate', '0.0', 'frames per second of the video source, 0.0: the rate of the recording'),
    ]


def generate_launch_description() -> LaunchDescription:
    """Describe the launch; called by ``ros2 launch``."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in arguments()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=nodes)])


def nodes(context: LaunchContext) -> list[Node]:
    """Make the nodes; an empty argument leaves what the parameter file says.

    Raises:
        ValueError: if an argument is not legal; the message says what is.
    """
    values = context.launch_configurations
    cameras = [name.strip() for name in values['cameras'].split(',') if name.strip()]
    chosen = parameters(values)
    if cameras:
        chosen['cameras'] = cameras
    controlled = is_true(values['controller'])
    if controlled:
        chosen['depth_mode'] = 'auto'
    topics = image_topics(values['image_topic'], cameras)
    common = {
        'package': PACKAGE,
        'namespace': values['namespace'],
        'arguments': ['--ros-args', '--log-level', values['log_level']],
        'output': 'screen',
    }
    detector = LifecycleNode(
        executable='detector_node',
        name='detector',
        parameters=[values['params_file'], chosen],
        remappings=list(topics.items()),
        **common,
    )
    result = [detector, *(controllers(values, cameras, common) if controlled else [])]
    return [*result, *(players(values, topics, common) if values['source'] else [])]


def controllers(values: dict[str, str], cameras: list[str], common: dict[str, Any]) -> list[Node]:
    """Make the controller of each camera's depth."""
    result = []
    for camera in cameras or ['']:
        own: dict[str, Any] = {}
        if camera:
            own['camera'] = camera
        if values['model']:
            own['model'] = ParameterValue(values['model'], value_type=str)
        if values['use_sim_time']:
            own['use_sim_time'] = is_true(values['use_sim_time'])
        result.append(
            Node(
                executable='controller_node',
                name=f'controller_{camera}' if camera else 'controller',
                parameters=[values['controller_params_file'], own],
                **common,
            )
        )
    return result


def players(values: dict[str, str], topics: dict[str, str], common: dict[str, Any]) -> list[Node]:
    """Make one video source for each image topic of the detector.

    Raises:
        ValueError: if the detector is to listen to compressed images.
    """
    if values['image_transport'] == 'compressed':
        raise ValueError('a video source publishes raw images: leave out image_transport')
    result = []
    for image, topic in topics.items():
        camera = image.rpartition('/')[0]
        playing = {
            'source': ParameterValue(values['source'].replace(CAMERA, camera), value_type=str),
            'rate': float(values['rate']),
        }
        if values['use_sim_time']:
            playing['use_sim_time'] = is_true(values['use_sim_time'])
        result.append(
            Node(
                executable='video_source_node',
                name=f'video_source_{camera}' if camera else 'video_source',
                parameters=[playing],
                remappings=[('image', topic)],
                **common,
            )
        )
    return result


def parameters(values: dict[str, str]) -> dict[str, Any]:
    """Return the parameters of the detector that the arguments choose, with their types."""
    chosen: dict[str, Any] = {
        name: ParameterValue(values[name], value_type=str) for name in TEXTS if values[name]
    }
    chosen.update({name: is_true(values[name]) for name in FLAGS if values[name]})
    if values['depth']:
        depth = values['depth']
        chosen['depth'] = int(depth) if is_level(depth) else ParameterValue(depth, value_type=str)
    return chosen


def image_topics(image_topic: str, cameras: list[str]) -> dict[str, str]:
    """Return which topic each image input of the detector is remapped to.

    Raises:
        ValueError: if the topic does not fit the cameras.
    """
    if not cameras:
        if CAMERA in image_topic:
            raise ValueError(
                f'image_topic {image_topic!r} needs the names of the cameras: '
                'give cameras:=front,rear or leave {camera} out'
            )
        return {'image': image_topic}
    if CAMERA not in image_topic and image_topic.startswith(('/', '~')):
        if len(cameras) > 1:
            raise ValueError(
                f'image_topic {image_topic!r} is one topic for {len(cameras)} cameras: put '
                f"{CAMERA} where their names belong, for example '/{CAMERA}/image_raw'"
            )
        return {f'{cameras[0]}/image': image_topic}
    pattern = image_topic if CAMERA in image_topic else f'{CAMERA}/{image_topic}'
    return {f'{camera}/image': pattern.replace(CAMERA, camera) for camera in cameras}


def is_level(depth: str) -> bool:
    """Tell a ladder level (up to three digits) from bits."""
    return depth.isdecimal() and len(depth) <= 3


def is_true(text: str) -> bool:
    """Read a launch argument that is true or false.

    Raises:
        ValueError: if it is neither.
    """
    if text.lower() not in ('true', 'false'):
        raise ValueError(f'{text!r} is not legal: use true or false')
    return text.lower() == 'true'
