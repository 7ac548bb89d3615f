#!/usr/bin/env python3
"""The floors of `daemon_rtsp.py`: PyAV that reads a stream and throws it away, decoded or not, until it is ended.

python benchmarks/bare_pyav.py URL [--decode]
"""

from __future__ import annotations

import argparse

import av

LOW_DELAY = 1 << 19  # AV_CODEC_FLAG_LOW_DELAY, as the daemon decodes


def main() -> None:
    """Read for ever."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--decode", action="store_true")
    options = parser.parse_args()
    with av.open(options.url, options={"rtsp_transport": "tcp"}, timeout=20.0) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= LOW_DELAY
        for packet in container.demux(stream):
            if options.decode:
                packet.decode()


if __name__ == "__main__":
    main()
