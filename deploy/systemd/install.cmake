# Runs at installation: CMAKE_INSTALL_PREFIX is where it goes, DESTDIR is put before that.
get_filename_component(prefix "${CMAKE_INSTALL_PREFIX}" ABSOLUTE)
set(ROUNDS_BIN "${prefix}/${ROUNDS_BINDIR}")
set(ROUNDS_DATA "${prefix}/${ROUNDS_DATADIR}")
foreach(file rounds-server.service rounds-site.service rounds.tmpfiles)
  configure_file("${ROUNDS_UNITS}/${file}.in" "${ROUNDS_MADE}/${file}" @ONLY)
endforeach()
file(INSTALL DESTINATION "${prefix}/lib/systemd/system" TYPE FILE
     FILES "${ROUNDS_MADE}/rounds-server.service" "${ROUNDS_MADE}/rounds-site.service")
file(INSTALL DESTINATION "${prefix}/lib/sysusers.d" TYPE FILE RENAME rounds.conf FILES "${ROUNDS_UNITS}/rounds.sysusers")
file(INSTALL DESTINATION "${prefix}/lib/tmpfiles.d" TYPE FILE RENAME rounds.conf FILES "${ROUNDS_MADE}/rounds.tmpfiles")
