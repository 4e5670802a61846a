# The gpu image with RunPod's job loop in front: docker build -f infra/launchers/runpod.Dockerfile --build-arg GPU_IMAGE=… infra/launchers
ARG GPU_IMAGE=lilora-gpu:0.1.0
FROM ${GPU_IMAGE}
USER root
RUN apt-get update \
  && apt-get install --yes --no-install-recommends python3=3.* python3-venv=3.* \
  && rm -rf /var/lib/apt/lists/* \
  && python3 -m venv /opt/runpod \
  && /opt/runpod/bin/pip install --no-cache-dir runpod==1.12.0
COPY runpod_handler.py /opt/runpod/handler.py
USER 10001:10001
ENTRYPOINT ["/opt/runpod/bin/python", "/opt/runpod/handler.py"]
CMD []
