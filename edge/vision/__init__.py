"""Hostile pixels and picture bytes: camera, codes, faces. Runs as edge-vision: no network, GPIO or journal."""
