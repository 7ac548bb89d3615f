"""The device client: MQTT on one side, the files that the daemon reads and writes on the other."""
