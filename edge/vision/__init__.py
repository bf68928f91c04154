"""Hostile pixels and picture bytes: camera, codes, faces. Runs as edge-vision, which has no network, GPIO or journal."""
