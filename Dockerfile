# docker build --tag stac-bench .
# docker run --volume "$PWD/runs:/work/runs" stac-bench --env Walker2d-v4 --algo stddpg-al
#
# The steps are those of `make install`. No test builds this image.
FROM rust:1.88-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make python3-dev python3-venv libosmesa6 \
    && rm --recursive --force /var/lib/apt/lists/*
COPY . /stac-bench
RUN make --directory /stac-bench install
ENV MUJOCO_GL=osmesa
WORKDIR /work
ENTRYPOINT ["stac-bench"]
