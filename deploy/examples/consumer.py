"""Rebuilds the state of all runs from their topic, and prints each run as one line of JSON.

    pip install -r requirements.txt
    python consumer.py localhost:9092 orchestration.runs.v1
"""

import json
import sys

from kafka import KafkaConsumer, TopicPartition

servers, topic = sys.argv[1:]
consumer = KafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False)
partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
consumer.assign(partitions)
consumer.seek_to_beginning()
ends = consumer.end_offsets(partitions)

runs = {}
while any(consumer.position(partition) < end for partition, end in ends.items()):  # to follow the topic: while True
    for records in consumer.poll(timeout_ms=1000).values():
        for run in (json.loads(record.value) for record in records if record.value is not None):
            if run["id"] not in runs or runs[run["id"]]["version"] < run["version"]:
                runs[run["id"]] = run

for run in runs.values():
    if not run.get("deleted"):
        print(json.dumps(run))
