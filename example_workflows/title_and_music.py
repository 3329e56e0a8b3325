"""A transformed shot under a title, with a chord under its own sound.

python example_workflows/title_and_music.py INPUT OUTPUT
"""

import sys

import numpy as np
from moviepy import AudioClip, CompositeAudioClip, CompositeVideoClip, TextClip, VideoFileClip, afx, vfx

from runway_node import RunwayVideoToVideo

source, output = sys.argv[1:]


def chord(t: float | np.ndarray) -> np.ndarray:
    """A minor: A, C and E."""
    note = sum(np.sin(2 * np.pi * hertz * np.asarray(t)) for hertz in (220.0, 261.63, 329.63)) / 3
    return np.stack([note, note], axis=-1)


with VideoFileClip(source) as clip:
    shot = clip.subclipped(1, 4).with_effects([RunwayVideoToVideo("a moonlit night, cold blue light")])

    title = (
        TextClip(text="Later that night", font_size=shot.h // 10, color="white", margin=(10, shot.h // 20))
        .with_duration(shot.duration)
        .with_position(("center", 0.75), relative=True)
        .with_effects([vfx.CrossFadeIn(1)])
    )
    music = AudioClip(chord, duration=shot.duration, fps=44100).with_effects(
        [afx.MultiplyVolume(0.15), afx.AudioFadeIn(0.5), afx.AudioFadeOut(1)]
    )
    sound = CompositeAudioClip([track for track in (shot.audio, music) if track])

    film = CompositeVideoClip([shot, title], bg_color=(0, 0, 0)).with_audio(sound)
    film.write_videofile(output, audio_codec="aac")
    shot.close()
