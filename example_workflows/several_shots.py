"""Several shots at once, in one look, cut together.

python example_workflows/several_shots.py INPUT OUTPUT
"""

import sys

from moviepy import VideoFileClip, concatenate_videoclips

from runway_node import RunwayVideoToVideo

source, output = sys.argv[1:]
snow = RunwayVideoToVideo("deep winter, fresh snow on everything", max_seconds=10)

with VideoFileClip(source) as clip:
    shots = [clip.subclipped(0, 2), clip.subclipped(3, 5)]
    takes = snow.map(shots)

    for take in takes:
        print(take.runway_result.path, take.runway_result.cost)

    concatenate_videoclips(takes).write_videofile(output, audio_codec="aac")

    for take in takes:
        take.close()
